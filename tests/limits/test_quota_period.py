"""Quota periods: what happens at the boundary second, on days with a change of clocks, at the ends of months and years."""

from __future__ import annotations

import logging
import zoneinfo
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.record import Period, Quota
from sidecar.limits import quota_period
from sidecar.limits.quota_period import Span, around
from tests.limits.model import period

HOUR = 3600


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("kind", "zone", "instant", "name", "start", "end"),
    [
        ("day", "UTC", "2026-11-24T12:00:00Z", "2026-11-24", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"),
        ("day", "UTC", "2026-11-24T00:00:00Z", "2026-11-24", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"),
        ("day", "UTC", "2026-11-23T23:59:59Z", "2026-11-23", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        ("month", "UTC", "2028-02-29T23:59:59Z", "2028-02", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("month", "UTC", "2026-12-31T23:59:59Z", "2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("month", "Asia/Kolkata", "2026-12-31T18:29:59Z", "2026-12", "2026-11-30T18:30:00Z", "2026-12-31T18:30:00Z"),
        ("month", "Asia/Kolkata", "2026-12-31T18:30:00Z", "2027-01", "2026-12-31T18:30:00Z", "2027-01-31T18:30:00Z"),
        # ISO weeks: 1 January 2027 is a Friday of the 53rd week of 2026, 31 December 2024 a Tuesday of the first of 2025.
        ("week", "UTC", "2027-01-01T00:00:00Z", "2026-W53", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
        ("week", "UTC", "2027-01-04T00:00:00Z", "2027-W01", "2027-01-04T00:00:00Z", "2027-01-11T00:00:00Z"),
        ("week", "UTC", "2024-12-31T10:00:00Z", "2025-W01", "2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z"),
        # Clocks go forward on 29 March and back on 25 October in Berlin, on 8 March and 1 November in New York.
        ("day", "Europe/Berlin", "2026-03-28T22:59:59Z", "2026-03-28", "2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z"),
        ("day", "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("day", "Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("day", "Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-30", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"),
        ("day", "Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ("day", "Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"),
        ("day", "America/New_York", "2026-03-08T12:00:00Z", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
        ("day", "America/New_York", "2026-11-02T04:59:59Z", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        ("week", "America/New_York", "2026-03-09T03:59:59Z", "2026-W10", "2026-03-02T05:00:00Z", "2026-03-09T04:00:00Z"),
        ("month", "Europe/Berlin", "2026-10-31T22:59:59Z", "2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
        # Midnight that never comes (Cairo, first hour skipped) and a date that never came (Fakaofo).
        ("day", "Africa/Cairo", "2026-04-23T22:00:00Z", "2026-04-24", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
        ("day", "Pacific/Fakaofo", "2011-12-30T10:59:59Z", "2011-12-29", "2011-12-29T11:00:00Z", "2011-12-30T11:00:00Z"),
        ("day", "Pacific/Fakaofo", "2011-12-30T11:00:00Z", "2011-12-31", "2011-12-30T11:00:00Z", "2011-12-31T11:00:00Z"),
        # Clocks went from 23:30 to 00:30: nobody saw midnight, and the date begins half an hour before it would have come.
        ("day", "America/Toronto", "1919-03-31T04:29:59Z", "1919-03-30", "1919-03-30T05:00:00Z", "1919-03-31T04:30:00Z"),
        ("day", "America/Toronto", "1919-03-31T04:30:00Z", "1919-03-31", "1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z"),
        ("week", "America/Toronto", "1919-03-31T04:45:00Z", "1919-W14", "1919-03-31T04:30:00Z", "1919-04-07T04:00:00Z"),
        # Clocks went from 00:01 back to 23:01: the hour until midnight comes again, but is already of the next day.
        ("day", "America/St_Johns", "2010-11-07T02:30:00Z", "2010-11-07", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"),
        ("day", "America/St_Johns", "2010-11-07T02:31:00Z", "2010-11-07", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"),
        ("day", "America/St_Johns", "2010-11-07T03:29:59Z", "2010-11-07", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"),
        # Clocks jumped from 23:59:59 to 03:00.
        ("day", "Antarctica/Casey", "2016-10-21T16:00:00Z", "2016-10-22", "2016-10-21T16:00:00Z", "2016-10-22T13:00:00Z"),
    ],
)
def test_period(kind: Period, zone: str, instant: str, name: str, start: str, end: str) -> None:
    assert period(at(instant), Quota(period=kind, timezone=zone)) == Span(name, int(at(start)), int(at(end)))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29T12:00:00Z", 23), ("2026-10-25T12:00:00Z", 25), ("2026-06-01T12:00:00Z", 24)])
def test_days_have_the_hours_of_their_clocks(day: str, hours: int) -> None:
    span = period(at(day), Quota(period="day", timezone="Europe/Berlin"))
    assert span.end - span.start == hours * HOUR


ZONES = sorted(zone for zone in zoneinfo.available_timezones() if "/" in zone)


@given(st.sampled_from(ZONES), st.sampled_from(("day", "week", "month")), st.integers(1_000_000_000, 2_500_000_000))
def test_periods_tile_time(zone: str, kind: Period, second: int) -> None:
    quota = Quota(period=kind, timezone=zone)
    before, span, after = around(second, quota)
    assert before.start <= before.end == span.start <= second < span.end == after.start <= after.end
    assert period(span.start, quota) == period(span.end - 1, quota) == span
    assert before.name < span.name < after.name
    local = datetime.fromtimestamp(second, zoneinfo.ZoneInfo(zone))
    year, week, _ = local.isocalendar()
    shown = {"day": local.date().isoformat(), "week": f"{year}-W{week:02}", "month": local.strftime("%Y-%m")}[kind]
    # Where clocks were put back over midnight, the hour that comes twice belongs to the later date.
    assert span.name == shown or (span.name == after_midnight(zone, second, kind))


def after_midnight(zone: str, second: int, kind: Period) -> str:
    return period(second + 2 * HOUR, Quota(period=kind, timezone=zone)).name


def test_a_zone_that_is_not_known_here_is_taken_for_utc_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    quota = Quota(period="day", timezone="Mars/Olympus_Mons")
    with caplog.at_level(logging.WARNING, quota_period.__name__):
        spans = {period(at("2026-11-24T12:00:00Z"), quota) for _ in range(3)}
    assert spans == {period(at("2026-11-24T12:00:00Z"), Quota(period="day"))}
    told = [record.getMessage() for record in caplog.records if record.name == quota_period.__name__]
    assert [message.count("Mars/Olympus_Mons") for message in told] == [1]


def test_fractions_of_the_last_second_belong_to_the_period() -> None:
    end = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert period(end - 0.001, Quota()).name == "2026-11"
    assert period(end, Quota()).name == "2026-12"


@pytest.mark.parametrize(
    ("kind", "names", "starts"),
    [
        ("day", ("2026-02-28", "2026-03-01", "2026-03-02"), ("2026-02-28", "2026-03-01", "2026-03-02", "2026-03-03")),
        ("week", ("2026-W08", "2026-W09", "2026-W10"), ("2026-02-16", "2026-02-23", "2026-03-02", "2026-03-09")),
        ("month", ("2026-02", "2026-03", "2026-04"), ("2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01")),
    ],
)
def test_a_period_stands_between_its_neighbours(kind: Period, names: tuple[str, ...], starts: tuple[str, ...]) -> None:
    edges = [int(at(f"{start}T00:00:00Z")) for start in starts]
    expected = tuple(Span(*span) for span in zip(names, edges, edges[1:], strict=False))
    assert around(at("2026-03-01T05:00:00Z"), Quota(period=kind)) == expected
