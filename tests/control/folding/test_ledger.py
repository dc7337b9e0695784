"""The ledger's script against a model of it."""

from __future__ import annotations

import random
import time
from collections import defaultdict

import pytest

from sidecar.control.folding.ledger import FIELDS_AT_ONCE, NOW, RENEW_EVERY, Entry, Ledger
from sidecar.control.folding.work import Planner
from sidecar.control.totals.series import DAY, SeriesBuilder
from sidecar.events.record import Request
from sidecar.keys.use import read_uses
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.control.support.away import partly_away
from tests.control.support.events import key_id, request, sums_of
from tests.control.support.folding import RETENTION
from tests.support.keys import Clock

SHARD = 5
TODAY = int(time.time() // DAY)
"""The store drops what has expired by its own clock, so these tests live in the present."""
NOON = TODAY * DAY + 43_200
KEYS = [key for key in map(key_id, range(40_000)) if names.shard_of(key) == SHARD]


async def apply(store: Store, position: int, events: list[Request]) -> None:
    """Bring `events`, all of one shard, into the store as the stretch behind `position`."""
    sums = sums_of(*events)
    planner = Planner(SeriesBuilder(RETENTION), network=lambda client: client, active_for=RETENTION.hours)
    work = planner.details(sums)[SHARD]
    end = position + 1
    assert await Ledger(store, "i").apply([Entry(NOW, SHARD, "s", position, end, work)]) == [end]


async def test_more_keys_than_go_into_one_command(store: Store) -> None:
    assert len(KEYS) > 2000
    for position in range(2):
        await apply(store, position, [request(key, time=NOON + position) for key in KEYS])
    uses = await read_uses(store, KEYS)
    assert all(uses[key].secrets[f"sec_{key[4:]}"].requests == 2 and uses[key].last_used_at == NOON + 1 for key in KEYS)
    assert await store.call("HLEN", names.series(SHARD, "h", TODAY)) == len(KEYS)
    scores = await store.call("ZRANGE", names.active(SHARD, TODAY), 0, -1, "WITHSCORES")
    assert {member.decode(): score for member, score in scores} == dict.fromkeys(KEYS, 2.0)
    latest = await store.call("ZRANGE", names.recent(SHARD), 0, -1, "WITHSCORES")
    assert {member.decode(): score for member, score in latest} == dict.fromkeys(KEYS, NOON + 1.0)


async def test_use_of_secrets_is_kept_newest_first(store: Store) -> None:
    chance = random.Random(4)
    seen: dict[str, list[str]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    last: dict[str, float] = {}
    for position in range(60):
        # A time may be earlier than what is stored: another worker's spool is read later.
        time_ = NOON + chance.randrange(1000)
        secret, client = chance.choice(["sec_old", "sec_new"]), f"198.51.100.{chance.randrange(14)}"
        await apply(store, position, [request(KEYS[0], time=time_, secret_id=secret, client=client)])
        seen[secret] = [client, *(other for other in seen[secret] if other != client)][:8]
        counts[secret] += 1
        last[secret] = max(last.get(secret, 0.0), time_)
    use = (await read_uses(store, KEYS[:1]))[KEYS[0]]
    assert use.last_used_at == max(last.values())
    assert {name: list(secret.networks) for name, secret in use.secrets.items()} == seen
    assert {name: (secret.requests, secret.last_used_at, secret.agents) for name, secret in use.secrets.items()} == {
        name: (counts[name], last[name], ("openai-python/1.55",)) for name in counts
    }


async def test_a_clock_that_was_ahead_does_not_have_the_last_word_on_when_a_key_was_used(store: Store) -> None:
    now, ahead = float(int(time.time())), 30 * DAY
    for position, time_ in enumerate((now - 9, now + ahead, now + ahead + 5)):
        await apply(store, position, [request(key, time=time_, secret_id=secret) for key in KEYS[:2] for secret in ("sec_old", "sec_new")])
    assert (await read_uses(store, KEYS[:1]))[KEYS[0]].last_used_at == now + ahead + 5
    # It is right again. What comes late still is not the latest.
    for position, time_ in enumerate((now, now - 5), 3):
        await apply(store, position, [request(KEYS[0], time=time_, secret_id="sec_new")])
    use = (await read_uses(store, KEYS[:1]))[KEYS[0]]
    assert use.last_used_at == now
    assert {name: (secret.last_used_at, secret.requests) for name, secret in use.secrets.items()} == {
        "sec_old": (now, 3),
        "sec_new": (now, 5),
    }
    latest = await store.call("ZRANGE", names.recent(SHARD), 0, -1, "WITHSCORES")
    assert {member.decode(): score for member, score in latest} == {KEYS[0]: now, KEYS[1]: now + ahead + 5}


async def test_the_use_of_a_key_without_a_secret(store: Store) -> None:
    await apply(store, 0, [request(KEYS[0], time=NOON, secret_id="")])
    await apply(store, 1, [request(KEYS[0], time=NOON + 1, secret_id="")])
    use = (await read_uses(store, KEYS[:2]))[KEYS[0]]
    assert (use.last_used_at, use.secrets) == (NOON + 1, {})


async def test_the_latest_secrets_of_a_key_are_kept(store: Store) -> None:
    """A key that is rotated each day for years has few that anybody asks for, and each use reads and writes all that are kept."""
    await apply(store, 0, [request(KEYS[0], time=NOON + number, secret_id=f"sec_{number:04}") for number in range(100)])
    # Not the ones that came last: a secret may be used beside its successors.
    await apply(store, 1, [request(KEYS[0], time=NOON + 200, secret_id="sec_0005")])
    expected = {"sec_0005", *(f"sec_{number:04}" for number in range(69, 100))}
    assert (await read_uses(store, KEYS[:1]))[KEYS[0]].secrets.keys() == expected
    for number in range(100, 140):
        await apply(store, number - 98, [request(KEYS[0], time=NOON + number, secret_id=f"sec_{number:04}")])
    use = (await read_uses(store, KEYS[:1]))[KEYS[0]]
    assert use.secrets.keys() == {"sec_0005", *(f"sec_{number:04}" for number in range(109, 140))}
    assert (use.last_used_at, use.secrets["sec_0005"].requests) == (NOON + 200, 2)


async def test_totals_are_renewed_once_an_hour(store: Store) -> None:
    clock, shards = Clock(), range(names.SHARDS)
    ledger = Ledger(store, "i", clock)
    for shard in shards:
        await store.call("HSET", names.totals(shard, "i"), "name", "value")
    for later, renewed in ((0, True), (RENEW_EVERY - 1, False), (1, True)):
        clock.now += later
        for shard in shards:
            await store.call("EXPIRE", names.totals(shard, "i"), 60)
        await ledger.renew()
        assert {await store.call("TTL", names.totals(shard, "i")) > 60 for shard in shards} == {renewed}


async def test_one_shard_away_keeps_no_other_from_what_is_brought(store: Store) -> None:
    """However much it is: then each shard's part is a trip of its own."""
    planner = Planner(SeriesBuilder(RETENTION), network=lambda client: client, active_for=RETENTION.hours)
    works = planner.details(sums_of(*(request(key_id(number), time=NOON) for number in range(20_000))))
    entries = [Entry(NOW, shard, "s", 0, 1, works[shard]) for shard in range(3)]
    assert all(len(entry.work.arguments) > 2 * FIELDS_AT_ONCE for entry in entries)
    partly_away(store).shards = {0, 4}
    ledger = Ledger(store, "i")
    replies = await ledger.apply(entries)
    assert isinstance(replies[0], StoreUnavailable) and replies[1:] == [1, 1]
    positions = await ledger.each_position()
    assert [shard for shard, found in enumerate(positions) if isinstance(found, StoreUnavailable)] == [0, 4]
    assert positions[1] == positions[2] == {"s": 1}
    with pytest.raises(StoreUnavailable):
        await ledger.positions()
