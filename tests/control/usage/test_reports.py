from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.control.folding.ledger import NOW as LANE_NOW
from sidecar.control.queries import GroupBy, UsageGroup, Use
from sidecar.control.usage.overview import Overview
from sidecar.events.record import Interim, Request, Tokens
from sidecar.store.client import Store
from tests.control.support.events import key_id, request
from tests.control.support.folding import RETENTION, Folding, groups_in, usage_of, write, writer

NOW = time.time()
"""The store drops what has expired by its own clock, so these tests live in the present."""
HOUR, DAY = 3600, 86_400


def clock() -> float:
    return NOW


def some_requests(count: int, seed: int = 1) -> list[Request]:
    chance = random.Random(seed)
    outcomes = [
        ("ok", ""),
        ("denied", "ip_not_allowed"),
        ("rate_limited", "rate_limit_exceeded"),
        ("hub_error", "5xx"),
        ("client_closed", ""),
    ]
    made = []
    for _ in range(count):
        outcome, reason = chance.choice(outcomes)
        made.append(
            request(
                key_id(chance.randrange(4)),
                time=NOW - chance.choice([90, 2 * HOUR, 1.9 * DAY]) * chance.random(),
                outcome=outcome,
                reason=reason,
                model=chance.choice(["a/small", "b/large"]),
                route=chance.choice(["chat", "image"]),
                bytes_in=chance.randrange(1000),
                tokens=Tokens(chance.randrange(100), chance.randrange(100), credits=chance.randrange(8) / 4, images=chance.randrange(2)),
            )
        )
    return made


def sum_up(events: list[Request]) -> Use:
    use = Use()
    for event in events:
        use.requests += 1
        use.errors += event.outcome in ("client_error", "hub_error", "sidecar_error")
        use.denied += event.outcome in ("denied", "rate_limited")
        use.input_tokens += event.tokens.input
        use.output_tokens += event.tokens.output
        use.images += event.tokens.images
        use.credits += event.tokens.credits
        use.bytes_in += event.bytes_in
        use.bytes_out += event.bytes_out
    return use


def add(one: Use, other: Use) -> Use:
    return Use(*(getattr(one, name) + getattr(other, name) for name in Use.__dataclass_fields__))


@pytest.fixture
async def events(tmp_path: Path, store: Store) -> list[Request]:
    made = some_requests(400)
    spool = writer(tmp_path / "spool")
    write(spool, *made)
    await Folding(tmp_path / "spool", store).run()
    return made


SPANS = [
    (None, None),
    (NOW - 3 * DAY, NOW),
    (NOW - HOUR, NOW),
    (NOW - 5000.25, NOW - 100.5),
    (NOW - 45, NOW - 12),
    (NOW - 7.3, NOW - 3.1),
    (None, NOW - 30),
    (NOW - DAY, None),
    (NOW - 10, NOW - 10),
    (float(int(NOW) // HOUR * HOUR), NOW + 50),
]


@pytest.mark.parametrize("step", ["1m", "1h", "1d"])
async def test_any_span_is_exact(store: Store, events: list[Request], step: str) -> None:
    usage = usage_of(store, clock)
    for (start, end), key in itertools.product(SPANS, (None, key_id(1))):
        report = await usage.usage(key, start, end, step, None)  # type: ignore[arg-type]
        expected = [
            event
            for event in events
            if (key is None or event.key_id == key) and (start is None or event.time >= start) and (end is None or event.time < end)
        ]
        assert report.totals == sum_up(expected)
        total = Use()
        for _, use in report.series:
            total = add(total, use)
        assert total == report.totals
        assert (report.start, report.end) == (start, end) or start == end
        size = {"1m": 60, "1h": HOUR, "1d": DAY}[step]
        points: dict[float, list[Request]] = defaultdict(list)
        for event in expected:
            points[event.time // size * size].append(event)
        assert [moment for moment, _ in report.series] == sorted(points)
        assert {moment: use.requests for moment, use in report.series} == {moment: len(some) for moment, some in points.items()}


@pytest.mark.parametrize("group_by", ["key", "owner", "model", "route", "outcome"])
async def test_groups_add_up_to_the_whole(store: Store, events: list[Request], group_by: Any) -> None:
    name = {"key": "key_id", "owner": "key_id"}.get(group_by, group_by)
    for start, end in SPANS:
        report = await usage_of(store, clock).usage(None, start, end, "1h", group_by)
        total, groups = Use(), await groups_in(report) or []
        for group in groups:
            total = add(total, group.totals)
        assert total == report.totals
        named: dict[str, int] = defaultdict(int)
        for event in events:
            if (start is None or event.time >= start) and (end is None or event.time < end):
                value = getattr(event, name)
                named["team-" + value[-1] if group_by == "owner" else value] += 1
        assert {group.by: group.totals.requests for group in groups} == dict(named)


@pytest.mark.parametrize("group_by", ["key", "owner", "model", "route", "outcome"])
@pytest.mark.parametrize("step", ["1m", "1h", "1d"])
async def test_groups_have_the_bytes_of_long_streams_too(tmp_path: Path, store: Store, group_by: Any, step: Any) -> None:
    parts = [Interim(time=NOW - 300 + minute * 60, request_id="r", key_id=key_id(1), bytes_in=1, bytes_out=10) for minute in range(3)]
    write(writer(tmp_path / "spool"), *parts, request(key_id(1), time=NOW - 60, bytes_in=5, bytes_out=37, interim_in=3, interim_out=30))
    await Folding(tmp_path / "spool", store).run()
    for key in (None, key_id(1)):
        report = await usage_of(store, clock).usage(key, None, None, step, group_by)
        assert [group.totals for group in await groups_in(report) or []] == [report.totals]
        assert (report.totals.requests, report.totals.bytes_in, report.totals.bytes_out) == (1, 5, 37)


@pytest.mark.parametrize("group_by", ["key", "owner", "model", "route", "outcome"])
async def test_parts_of_a_minute_have_the_bytes_of_a_long_stream_as_whole_minutes_have_them(
    tmp_path: Path, store: Store, group_by: GroupBy
) -> None:
    minute = NOW // 60 * 60 - 600
    parts = [Interim(minute - 300 + 60 * number, "r", key_id(1), 100, 1000) for number in range(5)]
    ended = request(key_id(1), time=minute + 20, bytes_in=501, bytes_out=5007, interim_in=500, interim_out=5000)
    write(writer(tmp_path / "spool"), *parts, ended)
    await Folding(tmp_path / "spool", store).run()
    usage = usage_of(store, clock)
    for key in (None, key_id(1)):
        whole = await usage.usage(key, minute - 3600, minute + 60, "1h", group_by)
        assert (whole.totals.bytes_in, whole.totals.bytes_out) == (501, 5007)
        cut_off = await usage.usage(key, minute - 3600, minute + 30.5, "1h", group_by)
        assert (cut_off.totals, await groups_in(cut_off)) == (whole.totals, await groups_in(whole))
        last = await usage.usage(key, minute, minute + 60, "1h", group_by)
        groups = await groups_in(last)
        assert (last.totals.bytes_in, last.totals.bytes_out) == (1, 7)
        for start, end in ((minute + 10, minute + 60), (minute, minute + 30), (minute + 10, minute + 30)):
            part = await usage.usage(key, start, end, "1h", group_by)
            assert (part.totals, await groups_in(part)) == (last.totals, groups)


@pytest.mark.parametrize("group_by", ["key", "owner"])
async def test_a_stream_that_ends_another_day_adds_its_bytes_to_its_key(store: Store, tmp_path: Path, group_by: GroupBy) -> None:
    midnight = NOW // DAY * DAY
    moved = Interim(midnight - 30, "req_1", key_id(1), 1000, 2000)
    ended = request(key_id(1), request_id="req_1", time=midnight + 30, bytes_in=1100, bytes_out=2200, interim_in=1000, interim_out=2000)
    write(writer(tmp_path / "spool"), moved, ended)
    await Folding(tmp_path / "spool", store).run()
    report = await usage_of(store, clock).usage(None, midnight - DAY, midnight, "1h", group_by)
    assert (report.totals.requests, report.totals.bytes_in, report.totals.bytes_out) == (0, 1000, 2000)
    assert [group.totals for group in await groups_in(report) or []] == [report.totals]
    assert await Overview(store, usage_of(store, clock)).top_keys(midnight - DAY, midnight, 5) == []


@pytest.mark.parametrize("group_by", ["key", "owner"])
async def test_one_key_grouped_by_key_or_owner_is_one_group(store: Store, tmp_path: Path, group_by: GroupBy) -> None:
    usage = usage_of(store, clock)
    assert await groups_in(await usage.usage(key_id(1), None, None, "1h", group_by)) == []
    write(writer(tmp_path / "spool"), request(key_id(1), time=NOW - 60), request(key_id(2), time=NOW - 60))
    await Folding(tmp_path / "spool", store).run()
    report = await usage.usage(key_id(1), None, None, "1h", group_by)
    assert await groups_in(report) == [
        UsageGroup(key_id(1) if group_by == "key" else f"team-{key_id(1)[-1]}", report.totals, report.series)
    ]
    assert report.totals.requests == 1


@pytest.mark.parametrize("group_by", ["key", "owner"])
@pytest.mark.parametrize("span", [None, DAY, HOUR, 120])
async def test_keys_whose_details_are_still_to_come_have_their_groups(
    store: Store, tmp_path: Path, group_by: GroupBy, span: float | None
) -> None:
    folding = Folding(tmp_path / "spool", store)
    await folding.fold.restore()
    spool = writer(tmp_path / "spool")
    write(spool, *(request(key_id(number), time=NOW - 30) for number in range(3)))
    folding.fold.count()
    await folding.apply()
    write(spool, *(request(key_id(number), time=NOW - 20) for number in range(3, 6)))
    folding.fold.count()
    await folding.fold.apply(LANE_NOW)
    report = await usage_of(store, clock).usage(None, None if span is None else NOW - span, None, "1h", group_by)
    assert report.totals.requests == sum(group.totals.requests for group in await groups_in(report) or []) == 6


@pytest.mark.parametrize("group_by", ["key", "owner"])
@pytest.mark.parametrize("ends", [True, False])
async def test_of_many_keys_those_that_a_short_span_has_are_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_by: GroupBy, ends: bool
) -> None:
    noon = NOW // DAY * DAY - 12 * HOUR
    early = [request(key_id(number), time=noon - 2 * HOUR) for number in range(300)]
    late = [request(key_id(number), time=noon - 100 - 60 * number) for number in range(3)]
    running = Interim(noon - 120, "req_1", key_id(7), 1000, 2000)
    write(writer(tmp_path / "spool"), *early, *late, running)
    await Folding(tmp_path / "spool", store).run()
    asked: list[tuple[Any, ...]] = []
    pipeline = store.pipeline

    async def noted(commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        asked.extend(commands)
        return await pipeline(commands)

    monkeypatch.setattr(store, "pipeline", noted)
    report = await usage_of(store, lambda: noon).usage(None, noon - 300, noon if ends else None, "1m", group_by)
    assert (report.totals.requests, report.totals.bytes_out) == (3, 3 * 900 + 2000)
    named = [key_id(number) if group_by == "key" else f"team-{number}" for number in (0, 1, 2, 7)]
    assert [group.by for group in await groups_in(report) or []] == named
    assert len({name.partition("|")[0] for command in asked if command[0] == "HMGET" for name in command[2:]}) == 1 + len(named)


async def test_a_span_is_widened_where_details_are_gone(store: Store, tmp_path: Path) -> None:
    spool = writer(tmp_path / "spool")
    old = NOW - 30 * DAY
    hour = old // HOUR * HOUR
    write(spool, request(key_id(1), time=hour + 5), request(key_id(1), time=hour + 1800), request(key_id(1), time=hour + 3599))
    folding = Folding(tmp_path / "spool", store)
    await folding.run()
    report = await usage_of(store, clock).usage(key_id(1), hour + 1000, hour + 2000, "1m", None)
    assert (report.start, report.end) == (hour, hour + HOUR)
    assert report.totals.requests == 3
    assert [moment for moment, _ in report.series] == [hour]


async def test_minutes_that_go_while_they_are_read_are_told_by_their_hour(store: Store, tmp_path: Path) -> None:
    """As when a report is long in the making, or the store's clock is ahead."""
    gone = (NOW - RETENTION.minutes) // HOUR * HOUR
    write(writer(tmp_path / "spool"), request(key_id(1), time=gone - 5))
    await Folding(tmp_path / "spool", store).run()
    report = await usage_of(store, lambda: gone + RETENTION.minutes - 5).usage(None, None, None, "1m", None)
    assert ([moment for moment, _ in report.series], report.totals.requests) == ([gone - HOUR], 1)


async def test_models_that_the_hub_never_served_take_few_places(store: Store, tmp_path: Path) -> None:
    spool = writer(tmp_path / "spool")
    write(spool, *(request(key_id(1), time=NOW, outcome="client_error", reason="4xx", model=f"made-up-{n}") for n in range(500)))
    write(spool, request(key_id(1), time=NOW, model="real"))
    await Folding(tmp_path / "spool", store).run()
    report = await usage_of(store, clock).usage(None, None, None, "1h", "model")
    groups = {group.by: group.totals.requests for group in await groups_in(report) or []}
    assert len(groups) == 102
    assert (groups["other"], groups["real"]) == (400, 1)


@pytest.mark.parametrize("group_by", ["key", "owner", "model", "route", "outcome"])
@pytest.mark.parametrize("step", ["1m", "1h", "1d"])
async def test_in_parts_the_groups_are_the_same(
    store: Store, events: list[Request], monkeypatch: pytest.MonkeyPatch, group_by: Any, step: Any
) -> None:
    usage = usage_of(store, clock)
    keys: list[str | None] = [None] if group_by in ("key", "owner") else [None, key_id(1)]
    for (start, end), key in itertools.product(SPANS, keys):
        found = []
        for most in (1_000_000, 1, 40):
            monkeypatch.setattr("sidecar.control.usage.reports.POINTS", most)
            monkeypatch.setattr("sidecar.control.usage.reports.POINTS_TOGETHER", most)
            report = await usage.usage(key, start, end, step, group_by)
            groups = await groups_in(report) or []
            assert report.groups is not None and {group.by for group in groups} <= set(report.groups.names)
            found.append((report.totals, report.series, groups))
        assert found[0] == found[1] == found[2]
