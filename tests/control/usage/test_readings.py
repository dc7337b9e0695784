"""What is read of the stored series covers a span, and nothing beyond it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.totals.series import DAY, HOUR, MINUTE, SERIES
from sidecar.control.usage.readings import hours_of, in_total, readings, requests, split
from sidecar.control.usage.span import Cut
from sidecar.store import names

DAYS = 20_000 * DAY
KEY = "key_0000000000000001"
bounds = st.tuples(st.integers(0, 3 * DAY // MINUTE), st.integers(1, 600)).map(
    lambda pair: (pair[0] * MINUTE, (pair[0] + pair[1]) * MINUTE)
)


@pytest.mark.parametrize(
    ("parts", "expected", "total"),
    [("", [""], True), ("\x1fm|a|b\x1fo|ok", ["", "m|a|b", "o|ok"], True), ("r|chat", ["r|chat"], False)],
)
def test_parts(parts: str, expected: list[str], total: bool) -> None:
    assert (split(parts), in_total(parts)) == (expected, total)


@given(bounds)
def test_every_minute_of_a_span_is_read_once(span: tuple[int, int]) -> None:
    first, last = DAYS + span[0], DAYS + span[1]
    plan = Cut(first, last, (), ((first, last),))
    found, fetched = [], set()
    for reading in readings(KEY, plan):
        command, name, *fields = reading.command
        assert command == "HMGET" and str(name).endswith(f":m:{reading.begins // HOUR}")
        reply = []
        for field in fields:
            subject, _, place = str(field).partition("|")
            assert subject == KEY
            fetched.add((reading.begins, int(place)))
            slice_ = SERIES["m"].slice
            numbers = range(int(place) * slice_, (int(place) + 1) * slice_)
            reply.append(msgspec.msgpack.encode({f"{number}\x1f": [number] for number in numbers}))
        found += [(time, values) for time, _, values in reading.cells(reply)]
    assert found == [(time, [time % HOUR // MINUTE]) for time in range(first, last, MINUTE)]
    # Nor is a field fetched that has none of them.
    assert fetched == {(time // HOUR * HOUR, time % HOUR // MINUTE // slice_) for time in range(first, last, MINUTE)}


def test_days_that_nobody_asked_for_are_left_out() -> None:
    plan = Cut(DAYS, DAYS + 3 * DAY, ((DAYS, DAYS + 3 * DAY),), ())
    assert [reading.begins for reading in readings(KEY, plan, days={20_001})] == [DAYS + DAY]


def test_whole_days_of_all_together() -> None:
    plan = Cut(DAYS, DAYS + 40 * DAY, (), (), days=((DAYS, DAYS + 40 * DAY),))
    found = []
    for reading in readings(None, plan):
        fields = [str(field).removeprefix("_all|") for field in reading.command[2:]]
        reply = [msgspec.msgpack.encode({f"{place}\x1fm|x": [1]}) for place in fields]
        found += [time for time, parts, _ in reading.cells(reply) if parts == "m|x"]
    assert found == [DAYS + day * DAY for day in range(40)]


def test_hours_of_a_day_are_fields_of_one_hash() -> None:
    assert hours_of(KEY, 20_000, [3, 21]) == ("HMGET", names.series(names.shard_of(KEY), "h", 20_000), f"{KEY}|3", f"{KEY}|21")


def test_requests_of_an_hour() -> None:
    cells = {"5\x1f\x1fo|ok": [2, 1.5], "5\x1f": [0, 0.0, 7], "5\x1f\x1fo|denied": [3], "5\x1fm|x": [9]}
    assert (requests(msgspec.msgpack.encode(cells)), requests(None)) == (5, 0)
