"""What was seen is believed as far as the clock that told its time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.detectors.amounts import STRANGE
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from tests.control.anomaly.life import AWAY, BORN, KEY, Life, served
from tests.control.anomaly.test_observer import _days, _restart, _wrong_clock

AHEAD = pytest.mark.parametrize("ahead", [5 * DAY, 30 * DAY, 100 * DAY])


@AHEAD
@pytest.mark.parametrize("hours", [0, 1, 20])
def test_a_silence_that_began_within_a_day_of_a_clock_that_was_ahead_is_told(ahead: int, hours: int) -> None:
    life = Life()
    last = _days(life, _wrong_clock(life, ahead), (hours * HOUR + 600) / DAY) - 600
    life.observer.put_right(last + DAY - 1)
    assert life.memory.last_used > last + DAY, "the clock may be wrong now"
    life.observer.changed.clear()
    life.observer.put_right(last + DAY)
    assert (life.memory.last_used, life.observer.changed) == (last, {KEY})
    _restart(life)
    life.observer.tick(last + 2 * DAY, force=True)
    told = len(life.told)
    life.see(served(last + 16 * DAY))
    assert life.signals == {"dormant_reactivated"} and len(life.told) == told + 1


def test_it_is_told_too_if_nobody_looked_meanwhile() -> None:
    life = Life()
    now = _days(life, _wrong_clock(life, 30 * DAY), 1 / 24)
    life.see(served(now + 16 * DAY))
    assert life.signals == {"dormant_reactivated"}


@AHEAD
def test_a_day_without_use_is_no_silence_although_the_clock_was_ahead_once(ahead: int) -> None:
    life = Life()
    now = _days(life, _wrong_clock(life, ahead), 1 / 24)
    told = len(life.told)
    for day in range(2, 10, 2):
        life.observer.put_right(now + day * DAY)
        life.see(served(now + day * DAY))
    assert (life.signals, len(life.told)) == (set(), told)


@pytest.mark.parametrize("ahead", [0, 60, HOUR - 1])
def test_late_traffic_is_no_silence_although_a_replicas_clock_is_ahead(ahead: int) -> None:
    life = Life()
    now = life.now + 600
    life.see(served(now + ahead), served(now - 20 * DAY))
    life.observer.put_right(now)
    life.see(served(now))
    assert life.told == []


def test_what_came_late_before_a_clock_was_ahead_is_no_last_use() -> None:
    life = Life()
    life.see(served(life.now - HOUR))
    now = _wrong_clock(life, 5 * DAY)
    life.observer.put_right(now + 2 * DAY)
    assert life.memory.last_used > now + 4 * DAY


def _by_a_clock_that_is_ahead(life: Life, ahead: int, *seconds: Second) -> None:
    """Traffic by a clock that is wrong, for a minute from now on, and an hour by the right one after it."""
    right = life.now
    life.see(*(replace(second, time=right + ahead + 10 * at) for at, second in enumerate(seconds)))
    life.now = right
    life.see(*(served(life.later(600), 10) for _ in range(6)))
    life.observer.tick(life.now, force=True)


@AHEAD
def test_models_that_began_while_the_clock_was_ahead_are_not_tried_just_now(ahead: int) -> None:
    life = Life()
    _by_a_clock_that_is_ahead(life, ahead, *(served(0, model=f"model-{name}") for name in "bcd"))
    told = len(life.told)
    for index in range(5):
        life.see(served(life.later(5 * HOUR), model=f"model-{index}"))
        life.see(*(served(life.later(600), 10) for _ in range(3)))
    assert "enumeration" not in life.signals and ("warn" not in {level for _, level in life.told[told:]})


@AHEAD
def test_networks_that_were_met_while_the_clock_was_ahead_do_not_fan_out_afterwards(ahead: int) -> None:
    life = Life()
    _by_a_clock_that_is_ahead(life, ahead, *(served(0, client=f"192.0.{index}.1") for index in range(6)))
    life.see(served(life.later(5 * HOUR), client=AWAY))
    assert "network_fanout" not in life.signals


@AHEAD
def test_a_network_that_was_met_while_the_clock_was_ahead_is_not_new_again_when_that_time_comes(ahead: int) -> None:
    life = Life()
    met = life.now + ahead
    _by_a_clock_that_is_ahead(life, ahead, served(0, client=AWAY))
    _days(life, life.now, (met - life.now) / DAY)
    life.see(served(met + HOUR, 60, client=AWAY))
    assert life.memory.window.five[STRANGE] == 0


@AHEAD
def test_a_key_that_began_while_the_clock_was_ahead_is_watched_all_the_same(ahead: int) -> None:
    life = Life(days=0)
    life.observer.admit(KEY, Memory(life.now + ahead))
    life.see(served(life.now + ahead))
    life.now = BORN
    life.see(*(served(life.later(600), 10) for _ in range(144 * 5)))
    life.see(served(life.later(60), client=AWAY))
    assert life.signals == {"new_network"}
