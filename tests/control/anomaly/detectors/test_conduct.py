from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sidecar.control.anomaly.detectors import conduct
from sidecar.control.anomaly.detectors.amounts import IN_FLIGHT, REFUSED, SERVED
from sidecar.control.anomaly.detectors.baseline import NO_PEAKS, REQUESTS_HOUR
from sidecar.control.anomaly.detectors.memory import Feedback, Memory
from sidecar.control.anomaly.detectors.second import SecondSums
from sidecar.control.anomaly.detectors.seen import Sighting
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from tests.control.anomaly.life import AWAY, BORN, KEY, Life, peaks, refused, served
from tests.control.support.events import denied, sums_of


def test_use_after_a_long_silence_is_a_warning_and_with_anything_new_a_page() -> None:
    life = Life()
    life.see(served(life.later(15 * DAY)))
    assert life.signals == {"dormant_reactivated"}
    assert life.level == "warn"
    life.see(served(life.later(10), agent="curl/8"))
    assert life.level == "page"


def test_a_monthly_job_is_a_warning_and_known_once_it_was_waved_through() -> None:
    life, levels = Life(days=0), []
    for month in range(2, 8):
        start = int(datetime(2026, month, 1, 3, tzinfo=UTC).timestamp())
        for request in range(150):
            life.see(served(start + 20 * request))
        levels.append(life.level)
        if month > 4:
            life.memory.acknowledge(life.now)
    # After what was said in May and June a month is not long.
    assert levels == ["notice", "warn", "warn", "warn", "warn", "notice"]


def test_two_weeks_of_holiday_are_no_dormancy() -> None:
    life = Life()
    life.see(served(life.later(13 * DAY)))
    assert life.signals == set()


@pytest.mark.parametrize(("code", "why"), [("api_key_revoked", "the key is revoked"), ("api_key_rotated", "the secret was rotated out")])
def test_a_dead_secret_is_one_warning_a_day(code: str, why: str) -> None:
    life = Life()
    for _ in range(5):
        life.see(refused(life.later(60), code, client=AWAY))
    assert life.signals == {"retired_secret"}
    assert life.memory.raised["retired_secret"].evidence == f"presented from 203.0.113.0/24 although {why}"
    assert life.told == [(KEY, "warn")]


@pytest.mark.parametrize(("ending", "told"), [("revoked", set()), ("refused", {"retired_secret"})])
def test_a_stream_that_its_revocation_cut_off_is_no_dead_secret(ending: str, told: set[str]) -> None:
    life, sums = Life(), SecondSums()
    for row in sums_of(denied(KEY, "api_key_revoked", time=life.later(60), ending=ending)).rows:
        sums.count(row)
    life.see(*sums.take_all())
    assert life.signals == told


def test_mostly_refused_is_a_warning_and_some_refusals_are_not() -> None:
    life = Life()
    for _ in range(20):
        life.see(refused(life.later(10), "rate_limit_exceeded", 1), served(life.later(1), 4))
    assert life.signals == set()
    for _ in range(20):
        life.see(refused(life.later(10), "rate_limit_exceeded", 5))
    assert life.signals == {"denied_burst"}


def test_use_at_an_idle_hour_of_the_week() -> None:
    life = Life(days=0)
    for time in range(BORN, BORN + 21 * DAY, 600):
        if 8 <= time // HOUR % 24 < 18:
            life.see(served(time, 10))
    start = BORN + 21 * DAY + 3 * HOUR
    for minute in range(30):
        life.see(served(start + 60 * minute, 2))
    assert life.signals == {"off_hours"}
    assert life.level == "notice"


def test_more_at_a_time_than_ever_counts_only_from_several_networks() -> None:
    life = Life(days=0)
    for time in range(BORN, BORN + 8 * DAY, 600):
        second = served(time, 5)
        second.in_flight = 3
        life.see(second)
    one = served(life.later(60), 5)
    one.in_flight = 30
    life.see(one)
    assert "impossible_concurrency" not in life.signals
    two = served(life.later(5), 5, client=AWAY)
    two.in_flight = 31
    life.see(two)
    assert "impossible_concurrency" in life.signals


NOW = BORN + 100 * DAY


def _memory(waved_through: int = 0, *, born: int = BORN) -> Memory:
    """A key of which enough is known, and of which people said as often that any of this is nothing."""
    memory = Memory(born, requests=Thresholds().mature_requests)
    if waved_through:
        names = ("dormant_reactivated", "denied_burst", "off_hours", "impossible_concurrency")
        memory.feedback = {name: Feedback(waved_through, NOW) for name in names}
    return memory


def _told(memory: Memory) -> list[str]:
    return [raised.evidence for raised in memory.raised.values()]


# In the tables below, what is told at the edge is told there and not one step before it.
@pytest.mark.parametrize(("waved_through", "days"), [(0, 14), (1, 28), (2, 42)])
def test_a_silence_is_long_beyond_its_edge(waved_through: int, days: int) -> None:
    for extra, told in ((0, []), (1, [f"first use after {days} days of silence"])):
        memory = _memory(waved_through)
        memory.last_used = NOW - days * DAY - extra
        conduct.dormant(memory, NOW, Thresholds())
        assert _told(memory) == told


@pytest.mark.parametrize(
    ("idle", "words"),
    [
        (40 * DAY, "40 days"),
        (2 * DAY - 1, "1 day"),
        (DAY - 1, "23 hours"),
        (2 * HOUR - 1, "1 hour"),
        (HOUR - 1, "59 minutes"),
        (60, "1 minute"),
        (59, "59 seconds"),
    ],
)
def test_a_silence_is_told_in_a_unit_that_fits(idle: int, words: str) -> None:
    memory = _memory()
    memory.last_used = NOW - idle
    conduct.dormant(memory, NOW, Thresholds(dormant_after=30))
    assert _told(memory) == [f"first use after {words} of silence"]


def test_the_first_use_breaks_no_silence() -> None:
    memory = _memory()
    conduct.dormant(memory, NOW, Thresholds())
    assert _told(memory) == []


@pytest.mark.parametrize(
    ("served_", "refused_", "waved_through", "is_told"),
    [(0, 29, 0, False), (0, 30, 0, True), (30, 30, 0, False), (29, 30, 0, True), (0, 59, 1, False), (0, 60, 1, True), (0, 89, 2, False)],
)
def test_refusals_have_a_floor_and_are_the_larger_half(served_: int, refused_: int, waved_through: int, is_told: bool) -> None:
    memory = _memory(waved_through)
    memory.window.five[SERVED], memory.window.five[REFUSED] = served_, refused_
    conduct.refusals(memory, NOW, Thresholds())
    assert _told(memory) == [f"{refused_} of {served_ + refused_} requests refused within 5 minutes"] * is_told


@pytest.mark.parametrize(
    ("requests", "age", "days", "elsewhere", "waved_through", "is_told"),
    [
        pytest.param(21, 14 * DAY, 7, 1000, 0, True, id="at the edge of everything"),
        pytest.param(20, 14 * DAY, 7, 1000, 0, False, id="not busy"),
        pytest.param(21, 14 * DAY - 1, 7, 1000, 0, False, id="too young"),
        pytest.param(21, 14 * DAY, 6, 1000, 0, False, id="rarely used"),
        pytest.param(21, 14 * DAY, 7, 999, 0, False, id="one in a thousand requests"),
        pytest.param(21, 14 * DAY, 7, 1000, 1, False, id="waved through"),
    ],
)
def test_an_hour_is_unusual_under_conditions(requests: int, age: int, days: int, elsewhere: int, waved_through: int, is_told: bool) -> None:
    memory = _memory(waved_through, born=NOW - age)
    memory.baseline.days = [(day, NO_PEAKS) for day in range(days)]
    memory.baseline.this_hour[REQUESTS_HOUR] = requests
    memory.baseline.week = [0] * 168
    memory.baseline.week[NOW // HOUR % 168], memory.baseline.week[NOW // HOUR % 168 - 1] = 1, elsewhere
    conduct.off_hours(memory, NOW, Thresholds())
    assert _told(memory) == [f"{requests} requests in an hour of the week that is otherwise idle"] * is_told


@pytest.mark.parametrize(
    ("usual", "waved_through", "too_many"), [(1, 0, 9), (2, 0, 9), (3, 0, 10), (5, 0, 16), (10, 1, 46), (10, 2, 61), (20, 3, 151)]
)
def test_requests_at_a_time_are_too_many_beyond_a_floor_and_a_multiple(usual: int, waved_through: int, too_many: int) -> None:
    evidence = f"{too_many} requests open at a time from 2 networks; at most {usual} before"
    for in_flight, last, told in ((too_many - 1, NOW, []), (too_many, NOW - 60, []), (too_many, NOW - 59, [evidence])):
        memory = _memory(waved_through)
        memory.baseline.usual = peaks(in_flight=usual)
        memory.networks.sightings = {1: Sighting(BORN, NOW), 2: Sighting(BORN, last)}
        conduct.concurrency(memory, in_flight, NOW, Thresholds())
        assert (_told(memory), memory.baseline.this_hour[IN_FLIGHT]) == (told, in_flight)


def test_the_number_at_a_time_of_a_young_key_says_nothing() -> None:
    for age, told in ((3 * DAY - 1, []), (3 * DAY, ["30 requests open at a time from 2 networks; at most 2 before"])):
        memory = _memory(born=NOW - age)
        memory.baseline.usual = peaks(in_flight=2)
        memory.networks.sightings = {1: Sighting(BORN, NOW), 2: Sighting(BORN, NOW)}
        conduct.concurrency(memory, 30, NOW, Thresholds())
        assert _told(memory) == told


def test_a_key_that_was_never_measured_has_no_usual_number_at_a_time() -> None:
    memory = _memory()
    memory.networks.sightings = {1: Sighting(BORN, NOW), 2: Sighting(BORN, NOW)}
    conduct.concurrency(memory, 1000, NOW, Thresholds())
    assert _told(memory) == []
