from __future__ import annotations

from sidecar.control.anomaly.memory import Feedback
from sidecar.control.anomaly.signals import DAY
from tests.control.anomaly.life import AWAY, BORN, KEY, Life, served


def _busy(days: int = 8) -> Life:
    """A key with 6 requests a minute."""
    life = Life(days=0)
    for time in range(BORN, BORN + days * DAY, 60):
        life.see(served(time, 6))
    return life


def test_a_sudden_burst_is_seen_within_two_minutes() -> None:
    life = _busy()
    begun = life.now
    while "request_spike" not in life.signals:
        life.see(served(life.later(10), 8))
        assert life.now - begun <= 120
    assert "its busiest hour of the week" in life.memory.raised["request_spike"].evidence
    assert life.level == "warn"


def test_a_slower_rise_is_seen_over_five_minutes() -> None:
    life = _busy()
    for _ in range(40):
        life.see(served(life.later(10), 6))
    assert "request_spike" in life.signals


def test_a_burst_below_the_floor_or_as_usual_is_nothing() -> None:
    quiet = Life()
    for _ in range(12):
        quiet.see(served(quiet.later(10), 2))
    assert quiet.signals == set()
    busy = _busy()
    for _ in range(60):
        busy.see(served(busy.later(10), 1))
    assert busy.signals == set()


def test_a_new_network_is_measured_by_itself() -> None:
    life = _busy()
    for _ in range(12):
        life.see(served(life.later(10), 2), served(life.later(0), 5, client=AWAY))
    assert {"new_network", "new_network_spike"} <= life.signals
    assert life.level == "page"


def test_tokens_are_measured_apart_from_requests() -> None:
    life = _busy()
    for _ in range(6):
        second = served(life.later(10), 1)
        second.tokens = 20_000
        life.see(second)
    assert life.signals == {"token_burn"}


def test_a_day_far_beyond_the_week_is_said_once() -> None:
    life = _busy()
    life.later(DAY - life.now % DAY)
    for _ in range(12):
        second = served(life.later(3600), 1)
        second.tokens = 1_000_000
        life.see(second)
        if "token_burn" in life.signals:
            assert "tokens" in life.memory.raised["token_burn"].evidence
    assert (KEY, "warn") in life.told


def test_a_spike_that_people_waved_through_must_be_larger_next_time() -> None:
    life = _busy()
    life.memory.feedback["request_spike"] = Feedback(4, life.now)
    for _ in range(6):
        life.see(served(life.later(10), 8))
    assert "request_spike" not in life.signals


def test_a_young_baseline_asks_for_more() -> None:
    young, old = _busy(4), _busy(9)
    for life in (young, old):
        for _ in range(6):
            life.see(served(life.later(10), 7))
    assert "request_spike" in old.signals
    for _ in range(2):
        young.idle(600)
    assert young.memory.baseline.usual.minute <= old.memory.baseline.usual.minute
