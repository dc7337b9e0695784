from __future__ import annotations

import random

import pytest

from sidecar.control.anomaly import record
from sidecar.control.anomaly.detectors import memory as memories
from sidecar.control.anomaly.detectors.amounts import REQUEST_PEAKS
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.second import NO_KEY, Second
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.episodes import Episodes
from sidecar.control.anomaly.observer import AT_ONCE, Observer
from sidecar.events.record import Request
from tests.control.anomaly.life import AGENT, AWAY, BORN, HOME, KEY, MODEL, ROUTE, Life, refused, served
from tests.control.support.events import request, sums_of


def _restart(life: Life) -> None:
    """What a restart leaves: memories and open episodes in their stored form."""
    old = life.observer
    life.observer = Observer(Networks(b"salt"), lambda key_id: f"name of {key_id}")
    for key_id, watch in old.watches.items():
        life.observer.admit(key_id, memories.decode(memories.encode(watch.memory)))
    opened = {subject: record.decode(record.encode(one)) for subject, one in old.episodes.open.items()}
    life.observer.episodes = Episodes("", opened.items())


def _theft(life: Life, restarts: set[int]) -> list[tuple[str, str]]:
    generator = random.Random(7)
    for step in range(30):
        life.see(served(life.later(generator.randrange(1, 40)), 3, client=AWAY, agent="curl/8"), served(life.later(1), 2))
        if step in restarts:
            _restart(life)
    return life.told


@pytest.mark.parametrize("restarts", [{0}, {3}, {1, 2, 5, 20}])
def test_a_restart_forgets_nothing_and_tells_nothing_twice(restarts: set[int]) -> None:
    assert _theft(Life(), restarts) == _theft(Life(), set()) == [(KEY, "warn"), (KEY, "page")]


def test_a_memory_that_had_no_room_for_words_takes_none_from_its_episode() -> None:
    life = Life()
    life.see(served(life.later(10), 3, client=AWAY, agent="curl/8"))
    said = {evidence.signal: evidence.text for evidence in life.observer.episodes.open[KEY].signals}
    assert set(said) >= {"new_network", "agent_change"} and all(said.values())
    for up in life.memory.raised.values():
        up.evidence = ""
    for _ in range(30):
        life.see(served(life.later(10), 3, client=AWAY, agent="curl/8"))
    later = {evidence.signal: evidence.text for evidence in life.observer.episodes.open[KEY].signals}
    assert later.items() > said.items(), "nothing came that would have changed the episode"


def test_one_attack_is_one_page_and_a_new_one_after_hours_of_quiet_is_another() -> None:
    life = Life()
    for _ in range(20):
        life.see(served(life.later(60), 3, client=AWAY, agent="curl/8"))
    first = life.observer.episodes.open[KEY]
    assert [level for _, level in life.told] == ["warn", "page"]
    assert first.summary.startswith("First use from 203.0.113.0/24; ")
    life.idle(25 * HOUR)
    assert first.active == []
    assert KEY in life.observer.episodes.open
    life.idle(7 * HOUR)
    assert KEY not in life.observer.episodes.open
    assert first.state == "closed"
    for _ in range(20):
        life.see(served(life.later(60), 3, client="192.0.2.1", agent="wget/8"))
    assert life.observer.episodes.open[KEY].id != first.id
    assert [level for _, level in life.told] == ["warn", "page"] * 2


def test_the_id_of_an_episode_follows_from_what_happened() -> None:
    ids = set()
    for _ in range(2):
        life = Life()
        life.see(served(life.later(60), 3, client=AWAY))
        ids.add(life.observer.episodes.open[KEY].id)
    assert len(ids) == 1


def test_a_page_is_not_learnt_as_what_is_usual() -> None:
    life = Life()
    for _ in range(2 * 360):
        life.see(served(life.later(10), 50, client=AWAY, agent="curl/8"))
    life.idle(3 * HOUR)
    life.see(served(life.later(1)))
    assert life.memory.baseline.usual[REQUEST_PEAKS] < 50


def test_traffic_of_a_key_that_is_not_known_yet_waits() -> None:
    observer = Observer(Networks(b"salt"), str)
    observer.sums.add(served(BORN, 3))
    observer.tick(BORN + 20)
    assert observer.unknown(9) == [KEY]
    observer.admit(KEY, Memory(BORN))
    observer.tick(BORN + 20)
    assert observer.watches[KEY].memory.requests == 3
    assert observer.unknown(9) == observer.unknown(0) == []


def test_sums_are_looked_at_after_ten_seconds_and_only_some_at_a_time() -> None:
    observer = Observer(Networks(b"salt"), str)
    keys = [f"key_{index}" for index in range(2 * AT_ONCE)]
    for key in keys:
        observer.admit(key, Memory(BORN - DAY))
        observer.sums.add(served(BORN, key=key))
    observer.tick(BORN + 9)
    assert len(observer.sums) == 2 * AT_ONCE
    observer.tick(BORN + 10)
    assert len(observer.sums) == AT_ONCE
    observer.tick(BORN + 11)
    assert len(observer.sums) == 0
    observer.forget(keys)
    assert not observer.watches


def test_an_empty_second_is_harmless() -> None:
    life = Life()
    life.see(Second(KEY, life.later(60), callers={}, refusals={}))
    assert life.told == []


def _steady(days: float = 4) -> Life:
    return Life(days, every=60, count=60)


def _minutes(life: Life, minutes: int) -> list[Request]:
    times = [life.later(2) for _ in range(30 * minutes)]
    return [request(KEY, time=float(time), route=ROUTE, model=MODEL, client=HOME, agent=AGENT) for time in times for _ in range(2)]


def test_minutes_that_were_read_at_once_are_no_spike() -> None:
    """As after a control process that was away, or waited for the store when it began."""
    life = _steady()
    before = life.memory.baseline.usual[REQUEST_PEAKS]
    for _ in range(2):
        for row in sums_of(*_minutes(life, 10)).rows:
            life.observer.sums.count(row)
        life.observer.tick(life.now, force=True)
        assert life.signals == set()
    life.see(*(served(life.later(60), 60) for _ in range(150)))
    assert life.memory.baseline.usual[REQUEST_PEAKS] <= 2 * before, "learnt as usual, it would hide a true one for a week"


@pytest.mark.parametrize("back", [2 * HOUR, 40 * DAY])
def test_a_clock_that_was_put_back_makes_no_spike_and_learning_goes_on(back: int) -> None:
    life = _steady()
    start = life.now - back
    life.see(*(served(start + 60 * minute, 60) for minute in range(300)))
    assert life.told == []
    assert life.memory.baseline.hour == (start + 60 * 299) // HOUR
    assert life.memory.baseline.this_hour[REQUEST_PEAKS + 2] <= 3600


def _wrong_clock(life: Life, by: int) -> int:
    """Two minutes of traffic by a clock that is wrong by so many seconds; returns the right time."""
    right = life.now
    life.see(*(served(right + by + 10 * step) for step in range(12)))
    return right + 120


def _days(life: Life, start: int, days: float) -> int:
    """Ordinary days from `start`; returns when they end."""
    end = start + int(days * DAY)
    life.see(*(served(time, 10) for time in range(start, end, 600)))
    return end


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_clock_that_was_put_back_raised_arms_no_page(restart: bool) -> None:
    life = Life()
    now = _wrong_clock(life, 30 * DAY)
    assert life.signals == {"dormant_reactivated"} and life.told == [(KEY, "warn")]
    if restart:
        _restart(life)
    now = _days(life, now, 1 / 24)
    assert life.signals == set()
    now = _days(life, now, 10)
    assert life.observer.episodes.open == {}
    life.see(served(now, 10, agent="curl/8"))
    assert life.signals == {"agent_change"} and life.told == [(KEY, "warn"), (KEY, "notice")]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("back", [20 * DAY, 20_000 * DAY])
def test_minutes_of_a_clock_that_was_put_back_are_no_silence_afterwards(back: int, restart: bool) -> None:
    life = Life()
    now = _wrong_clock(life, -back)
    if restart:
        _restart(life)
    _days(life, now, 1)
    assert life.told == []


def test_an_episode_that_fell_quiet_ahead_of_the_clock_ends_like_any_other() -> None:
    life = Life(days=0)
    life.see(refused(life.now, "invalid_api_key", 20, client=AWAY, key=NO_KEY))
    now = life.now
    for time in (now + 30 * DAY, now + 60, now + 60 + 5 * HOUR):
        life.observer.tick(time)
        assert life.observer.episodes.open["203.0.113.0/24"].active == []
    life.observer.tick(now + 60 + 6 * HOUR)
    assert life.observer.episodes.open == {}


def test_traffic_that_comes_late_takes_no_signal_down() -> None:
    """As of a replica that was away; only the clock itself tells that it was put back."""
    life = Life()
    life.see(*(served(life.later(10), 3, client=AWAY, agent="curl/8") for _ in range(6)))
    signals, now = life.signals, life.now
    assert life.level == "page"
    life.observer.sums.add(served(now - 5 * HOUR, 3))
    life.observer.tick(now, force=True)
    assert life.signals == signals


def test_a_stranger_is_told_although_the_clock_was_ahead_when_it_began() -> None:
    life = Life()
    right = life.now
    life.see(*(served(right + 30 * DAY + 10 * step, 3, client=AWAY, agent="curl/8") for step in range(6)))
    life.see(*(served(right + 60 + 10 * step, 3, client=AWAY, agent="curl/8") for step in range(60)))
    assert "stranger" in life.signals


def test_a_true_silence_is_told_although_the_clock_was_ahead_once() -> None:
    life = Life()
    now = _days(life, _wrong_clock(life, 100 * DAY), 2)
    told = len(life.told)
    life.see(served(now + 20 * DAY))
    assert life.signals == {"dormant_reactivated"} and len(life.told) == told + 1


def test_a_new_network_is_believed_although_the_clock_was_ahead_once() -> None:
    life = Life()
    now = _wrong_clock(life, 10 * DAY)
    life.see(served(now, client=AWAY))
    assert life.signals == {"new_network"}
    life.see(*(served(now + 600 * step, client=AWAY) for step in range(1, 15)))
    assert life.signals == set(), "conduct is looked at once a minute, not once the wrong time has come"
