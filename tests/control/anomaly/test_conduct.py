from __future__ import annotations

import pytest

from sidecar.control.anomaly.signals import DAY, HOUR
from tests.control.anomaly.life import AWAY, BORN, KEY, Life, refused, served


def test_use_after_a_long_silence_is_a_warning_and_with_anything_new_a_page() -> None:
    life = Life()
    life.see(served(life.later(15 * DAY)))
    assert life.signals == {"dormant_reactivated"}
    assert life.level == "warn"
    life.see(served(life.later(10), agent="curl/8"))
    assert life.level == "page"


def test_two_weeks_of_holiday_are_no_dormancy() -> None:
    life = Life()
    life.see(served(life.later(13 * DAY)))
    assert life.signals == set()


@pytest.mark.parametrize(("code", "why"), [("api_key_revoked", "revoked"), ("api_key_rotated", "rotated out")])
def test_a_dead_secret_is_one_warning_a_day(code: str, why: str) -> None:
    life = Life()
    for _ in range(5):
        life.see(refused(life.later(60), code, client=AWAY))
    assert life.signals == {"retired_secret"}
    assert why in life.memory.raised["retired_secret"].evidence
    assert "203.0.113.0/24" in life.memory.raised["retired_secret"].evidence
    assert life.told == [(KEY, "warn")]


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
