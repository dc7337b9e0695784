"""Stored minutes as the ledger leaves them, without the events that they come from: for spans of weeks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sidecar.control.totals.nested import packed
from sidecar.control.totals.series import ALL, DAY, MINUTE, SEPARATOR, SERIES, Values
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.store.link import Command

OF_A_MINUTE: Values = [3, 0.75, 300, 6000, 120, 340, 1, 0, 0.25]
_MINUTES = SERIES["m"]


async def fill_minutes(store: Store, key_ids: Sequence[str], first: int, last: int) -> None:
    """Let every key be used in each minute of [first, last), Unix seconds on whole hours."""
    together = [value * len(key_ids) for value in OF_A_MINUTE]
    for hour in range(first // _MINUTES.span, last // _MINUTES.span):
        commands = [_hour(names.shard_of(key_id), key_id, hour, OF_A_MINUTE) for key_id in key_ids]
        await store.pipeline([*commands, _hour(names.GLOBAL_SHARD, ALL, hour, together)])
    await store.pipeline(list(_active(key_ids, first, last)))


def _hour(shard: int, subject: str, hour: int, values: Values) -> Command:
    size = _MINUTES.slice
    fields = {
        f"{subject}|{place}": packed({f"{place * size + minute}{SEPARATOR}{SEPARATOR}o|ok": values for minute in range(size)})
        for place in range(60 // size)
    }
    return ("HSET", names.series(shard, "m", hour), *(each for field in fields.items() for each in field))


def _active(key_ids: Sequence[str], first: int, last: int) -> Iterator[Command]:
    for day in range(first // DAY, -(-last // DAY)):
        minutes = (min(last, (day + 1) * DAY) - max(first, day * DAY)) // MINUTE
        for key_id in key_ids:
            yield ("ZADD", names.active(names.shard_of(key_id), day), minutes * OF_A_MINUTE[0], key_id)
