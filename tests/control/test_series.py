"""Series as they are stored: a few fields, each of which says everything about its buckets."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from sidecar.control.metrics.counts import GLOBAL_SHARD
from sidecar.control.series import ALL, DAY, HOUR, SeriesBuilder, Sum, added
from sidecar.control.sums import Sums
from sidecar.events.record import Interim, Request, Tokens, encode
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.support.events import key_id, request
from tests.control.support.folding import RETENTION, Folding, write, writer

NOON = 20_000 * DAY + 12 * HOUR


def sums_of(*events: Request | Interim) -> Sums:
    sums = Sums()
    sums.add([(event, encode(event)) for event in events])
    return sums


def cells(made: list[tuple[int, Sum]], shard: int, field: str) -> dict[str, list[float]]:
    found = [sum_.fields[field] for place, sum_ in made if place == shard and field in sum_.fields]
    assert len(found) == 1
    decoded: dict[str, list[float]] = msgspec.msgpack.decode(found[0])
    return decoded


def test_one_field_holds_all_that_a_key_did_in_its_minutes() -> None:
    like = {"bytes_in": 10, "bytes_out": 20, "total": 0.5, "model": "a/b", "route": "chat"}
    made = SeriesBuilder(RETENTION).minutes(
        sums_of(
            request(key_id(1), time=NOON, tokens=Tokens(1, 2), **like),
            request(key_id(1), time=NOON + 1, tokens=Tokens(1, 2), **like),
            request(key_id(1), time=NOON + 250, tokens=Tokens(1, 2), outcome="hub_error", reason="5xx", **like),
            request(key_id(1), time=NOON + 300, tokens=Tokens(), **like),
        )
    )
    shard = names.shard_of(key_id(1))
    ok, failed = "\x1f\x1fm|a/b\x1fr|chat\x1fo|ok", "\x1f\x1fm|a/b\x1fr|chat\x1fo|hub_error\x1fc|5xx"
    assert cells(made, shard, f"{key_id(1)}|0") == {f"0{ok}": [2, 1.0, 20, 40, 2, 4], f"4{failed}": [1, 0.5, 10, 20, 1, 2, 1]}
    assert cells(made, shard, f"{key_id(1)}|1") == {f"5{ok}": [1, 0.5, 10, 20]}
    # Of all keys together each group stands alone: what they do in combination would fill the field.
    assert cells(made, GLOBAL_SHARD, f"{ALL}|1") == {f"5\x1f{part}": [1, 0.5, 10, 20] for part in ("", "m|a/b", "r|chat", "o|ok")}
    assert {sum_.expires_at for _, sum_ in made} == {NOON + HOUR + int(RETENTION.minutes)}


def test_bytes_of_a_stream_that_still_runs_belong_to_no_group() -> None:
    made = SeriesBuilder(RETENTION).hours(sums_of(Interim(time=NOON, request_id="r", key_id=key_id(2), bytes_in=3, bytes_out=5)))
    assert cells(made, names.shard_of(key_id(2)), f"{key_id(2)}|12") == {"12\x1f": [0, 0.0, 3, 5]}


def test_sums_of_lists_that_end_differently() -> None:
    one, other = [1, 0.5], [1, 0.25, 7]
    assert added(one, other) == added(other, one) == [2, 0.75, 7]
    assert (one, other) == ([1, 0.5], [1, 0.25, 7])


def test_a_model_cannot_forge_a_part() -> None:
    made = SeriesBuilder(RETENTION).minutes(sums_of(request(key_id(1), time=NOON, model="x\x1fo|denied")))
    (name,) = cells(made, names.shard_of(key_id(1)), f"{key_id(1)}|0")
    assert name == "0\x1f\x1fm|x o|denied\x1fr|chat_completions\x1fo|ok"


async def test_every_hash_expires(tmp_path: Path, store: Store) -> None:
    write(writer(tmp_path / "spool"), request(key_id(1)))
    await Folding(tmp_path / "spool", store).run()
    now, of_key = time.time(), names.shard_of(key_id(1))
    for step, shard, span, keep in (
        ("m", of_key, HOUR, RETENTION.minutes),
        ("h", of_key, DAY, RETENTION.hours),
        ("d", GLOBAL_SHARD, 32 * DAY, RETENTION.hours),
    ):
        left = await store.call("TTL", names.series(shard, step, int(now // span)))
        assert keep - span <= left <= keep + span
