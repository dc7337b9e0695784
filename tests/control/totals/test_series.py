"""Series as they are stored: a few fields, each of which says everything about its buckets."""

from __future__ import annotations

import time
from functools import reduce
from itertools import product
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.totals.series import ALL, DAY, DIMENSIONS, HOUR, MEASURES, SeriesBuilder, Sum, added, summed, values_of
from sidecar.events.record import Interim, Reconciled, Tokens
from sidecar.refusals import Outcome
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.support.events import key_id, request, sums_of
from tests.control.support.folding import RETENTION, Folding, write, writer

NOON = 20_000 * DAY + 12 * HOUR


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
    assert cells(made, names.GLOBAL_SHARD, f"{ALL}|1") == {f"5\x1f{part}": [1, 0.5, 10, 20] for part in ("", "m|a/b", "r|chat", "o|ok")}
    assert {sum_.expires_at for _, sum_ in made} == {NOON + HOUR + int(RETENTION.minutes)}


def test_bytes_of_a_stream_that_still_runs_belong_to_no_group() -> None:
    made = SeriesBuilder(RETENTION).hours(sums_of(Interim(time=NOON, request_id="r", key_id=key_id(2), bytes_in=3, bytes_out=5)))
    assert cells(made, names.shard_of(key_id(2)), f"{key_id(2)}|12") == {"12\x1f": [0, 0.0, 3, 5]}
    assert cells(made, names.GLOBAL_SHARD, f"{ALL}|12") == {"12\x1f": [0, 0.0, 3, 5]}, "and to all keys together"


def test_an_hour_and_a_day_hold_what_their_minutes_do() -> None:
    like = {"bytes_in": 10, "bytes_out": 20, "total": 0.5, "model": "m", "route": "chat", "tokens": Tokens(1, 2)}
    made = SeriesBuilder(RETENTION).hours(sums_of(*(request(key_id(1), time=NOON + later, **like) for later in (0, 60, 3599, 3600))))
    shard, parts = names.shard_of(key_id(1)), "\x1f\x1fm|m\x1fr|chat\x1fo|ok"
    assert cells(made, shard, f"{key_id(1)}|12") == {f"12{parts}": [3, 1.5, 30, 60, 3, 6]}
    assert cells(made, shard, f"{key_id(1)}|13") == {f"13{parts}": [1, 0.5, 10, 20, 1, 2]}
    groups = ("", "m|m", "r|chat", "o|ok")
    assert cells(made, names.GLOBAL_SHARD, f"{ALL}|12") == {f"12\x1f{group}": [3, 1.5, 30, 60, 3, 6] for group in groups}
    day = 20_000 % 32
    assert cells(made, names.GLOBAL_SHARD, f"{ALL}|{day}") == {f"{day}\x1f{group}": [4, 2.0, 40, 80, 4, 8] for group in groups}


@pytest.mark.parametrize(("told_in", "told_out"), [(3, 5), (0, 5), (3, 0)])
def test_bytes_of_a_long_stream_belong_to_its_groups_once_it_has_ended(told_in: int, told_out: int) -> None:
    told = Interim(time=NOON - 60, request_id="r", key_id=key_id(2), bytes_in=told_in, bytes_out=told_out)
    moved = {"bytes_in": told_in + 1, "bytes_out": told_out + 20, "interim_in": told_in, "interim_out": told_out}
    ended = request(key_id(2), time=NOON, model="m", route="chat", total=90.0, tokens=Tokens(), **moved)
    made = SeriesBuilder(RETENTION).minutes(sums_of(told, ended))
    groups = "m|m\x1fr|chat\x1fo|ok"
    assert cells(made, names.shard_of(key_id(2)), f"{key_id(2)}|0") == {
        f"0\x1f\x1f{groups}": [1, 90.0, 1, 20],
        f"0\x1f{groups}": [0, 0.0, told_in, told_out],
    }
    assert cells(made, names.GLOBAL_SHARD, f"{ALL}|0") == {
        "0\x1f": [1, 90.0, 1, 20],
        **{f"0\x1f{group}": [1, 90.0, told_in + 1, told_out + 20] for group in groups.split("\x1f")},
    }


@pytest.mark.parametrize("outcome", get_args(Outcome))
@pytest.mark.parametrize("source", ["none", "hub"])
def test_measures_of_a_request_by_itself_and_as_they_are_stored(outcome: str, source: str) -> None:
    for said in product((0, 1), repeat=6):
        tokens = Tokens(*(place * flag for place, flag in enumerate(said, 1)))
        event = request(key_id(1), time=NOON, outcome=outcome, total=1.5, bytes_in=10, bytes_out=20, tokens=tokens, usage_source=source)
        used = Tokens() if source == "none" else tokens
        values = values_of(event)
        assert dict(zip(MEASURES, values, strict=True)) == {
            "requests": 1,
            "duration_seconds": 1.5,
            "bytes_in": 10,
            "bytes_out": 20,
            "input_tokens": used.input,
            "output_tokens": used.output,
            "errors": outcome in ("client_error", "hub_error", "sidecar_error"),
            "denied": outcome in ("denied", "rate_limited"),
            "credits": used.credits,
            "images": used.images,
            "cached_input_tokens": used.cached_input,
            "cache_creation_input_tokens": used.cache_creation_input,
        }
        (stored,) = cells(SeriesBuilder(RETENTION).minutes(sums_of(event)), names.shard_of(key_id(1)), f"{key_id(1)}|0").values()
        assert stored == values[: len(stored)] and not any(values[len(stored) :])
        assert stored[-1], "zeros at the end are left out"


def test_what_the_ledger_adds_is_no_request_even_when_it_is_nothing() -> None:
    """A reader takes the requests from the first place without looking whether there is one."""
    for tokens, expected in ((Tokens(), [0]), (Tokens(3), [0, 0.0, 0, 0, 3])):
        made = SeriesBuilder(RETENTION).minutes(sums_of(Reconciled(NOON + 1, request(key_id(1), time=NOON), tokens)))
        assert list(cells(made, names.shard_of(key_id(1)), f"{key_id(1)}|0").values()) == [expected]


def test_days_are_those_of_all_together() -> None:
    like = {"total": 0.5, "bytes_in": 10, "bytes_out": 20, "tokens": Tokens(1, 2), "model": "a/b", "route": "chat"}
    day = NOON + 5 * DAY
    made = SeriesBuilder(RETENTION).hours(
        sums_of(*(request(key_id(key), time=day + hour * HOUR, **like) for key in (1, 2) for hour in (0, 1)))
    )
    assert cells(made, 0, "_all|5") == {f"5\x1f{part}": [4, 2.0, 40, 80, 4, 8] for part in ("", "m|a/b", "r|chat", "o|ok")}


@pytest.mark.parametrize(("model", "served", "parts"), [("a", "b", ["m|b"]), ("a", "", ["m|a"]), ("", "b", ["m|b"]), ("", "", [])])
def test_a_request_counts_under_the_model_that_served_it(model: str, served: str, parts: list[str]) -> None:
    made = SeriesBuilder(RETENTION).minutes(sums_of(request(key_id(1), time=NOON, model=model, model_served=served)))
    (name,) = cells(made, names.shard_of(key_id(1)), f"{key_id(1)}|0")
    assert [part for part in name.split("\x1f") if part.startswith("m")] == parts


def test_parts_begin_with_the_sign_of_their_dimension() -> None:
    said = {"model": "a/b", "route": "chat", "outcome": "hub_error", "reason": "5xx"}
    made = SeriesBuilder(RETENTION).minutes(sums_of(request(key_id(1), time=NOON, **said)))
    (name,) = cells(made, names.shard_of(key_id(1)), f"{key_id(1)}|0")
    assert name.split("\x1f") == ["0", "", *(f"{sign}|{said[dimension]}" for dimension, sign in DIMENSIONS.items())]
    assert list(DIMENSIONS) == list(said)


def test_a_thousand_models_have_names_a_tenth_of_them_unproven() -> None:
    failed = [request(key_id(1), time=NOON, model=f"unproven-{number:03}", outcome="hub_error") for number in range(150)]
    served = [request(key_id(1), time=NOON, model=f"proven-{number:03}") for number in range(950)]
    made = SeriesBuilder(RETENTION).minutes(sums_of(*failed, *served))
    models = {
        part.removeprefix("m|") for name in cells(made, names.GLOBAL_SHARD, "_all|0") for part in name.split("\x1f") if part[:2] == "m|"
    }
    assert models == {
        *(f"unproven-{number:03}" for number in range(100)),
        *(f"proven-{number:03}" for number in range(900)),
        "other",
    }


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=4))
def test_sums_of_lists(lists: list[list[float]]) -> None:
    expected = [sum(each[place] for each in lists if place < len(each)) for place in range(max(map(len, lists)))]
    assert summed(lists) == reduce(added, lists) == expected


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
        ("d", names.GLOBAL_SHARD, 32 * DAY, RETENTION.hours),
    ):
        left = await store.call("TTL", names.series(shard, step, int(now // span)))
        assert keep - span <= left <= keep + span
