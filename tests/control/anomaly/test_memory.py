from __future__ import annotations

import pytest

from sidecar.control.anomaly import memory as memories
from sidecar.control.anomaly.amounts import PEAKS, PLACES
from sidecar.control.anomaly.baseline import Baseline
from sidecar.control.anomaly.memory import MAX_ENCODED, Feedback, Memory, Raised
from sidecar.control.anomaly.seen import Seen, Sighting
from sidecar.control.anomaly.signals import AGENT_CHANGE, DAY, NEW_NETWORK, TABLE
from sidecar.control.anomaly.windows import Window
from tests.control.anomaly.life import BORN, Life, served

NOW = 1_900_000_000
MANY = 70_000


def _full(capacity: int) -> Seen:
    # Only a few can be new at a time: a key that meets more roams, and then they are not called new.
    return Seen(capacity, {2**32 - 1 - index: Sighting(NOW, NOW, NOW if index < 6 else 0, True) for index in range(capacity)}, [NOW] * 8)


def test_the_fullest_memory_fits() -> None:
    peaks = (MANY,) * PEAKS
    full = Memory(
        NOW,
        requests=10**9,
        last_used=NOW,
        baseline=Baseline(peaks, [(20_000, peaks)] * 8, NOW // 3600, list(peaks), peaks, 10**9, 20_000, [0xFFFF] * 168),
        window=Window([MANY] * PLACES, [MANY] * PLACES, [[300, 3, 60_000, 200, NOW // 10]] * 30, 3),
        stranger_since=NOW,
        stranger_requests=MANY,
        raised={signal.name: Raised(NOW, NOW, "e" * memories.EVIDENCE_LENGTH) for signal in TABLE[:6]},
        muted={signal.name: NOW for signal in TABLE[:2]},
        feedback={signal.name: Feedback(8, NOW) for signal in TABLE[:2]},
        changes=MANY,
    )
    for name in ("networks", "agents", "models", "routes", "refused_models"):
        setattr(full, name, _full(getattr(full, name).capacity))
    assert len(memories.encode(full)) <= MAX_ENCODED


def test_what_was_written_is_read_back() -> None:
    life = Life(days=4)
    assert memories.decode(memories.encode(life.memory)) == life.memory
    assert len(memories.encode(life.memory)) < 1500


def test_what_an_earlier_version_wrote_is_filled_up() -> None:
    """Places are added behind those that are stored, so that a week's learning outlives an upgrade."""
    memory = Life(days=4).memory
    baseline, window = memory.baseline, memory.window
    expected = memories.decode(memories.encode(memory))
    for sums in (baseline.this_hour, window.minute, window.five):
        assert sums.pop() == 0
    baseline.usual, baseline.last_hour = baseline.usual[:-1], baseline.last_hour[:-1]
    assert memories.decode(memories.encode(memory)) == expected


def test_a_signal_runs_out_and_can_be_kept_up() -> None:
    memory = Memory(BORN)
    assert memory.raise_signal(NEW_NETWORK, BORN, "first")
    assert not memory.raise_signal(NEW_NETWORK, BORN + 100, "second")
    assert memory.raised["new_network"].evidence == "first"
    assert not memory.lower(BORN + DAY)
    assert memory.lower(BORN + 100 + DAY)
    assert memory.changes == 2


@pytest.mark.parametrize("name", ["new_network", "*"])
def test_a_muted_signal_stays_down(name: str) -> None:
    memory = Memory(BORN, muted={name: BORN + 100})
    assert not memory.raise_signal(NEW_NETWORK, BORN + 99, "muted")
    assert memory.raise_signal(NEW_NETWORK, BORN + 100, "heard")


def test_feedback_counts_and_fades() -> None:
    memory = Memory(BORN)
    for times in (1, 2):
        memory.raise_signal(AGENT_CHANGE, BORN, "again")
        memory.acknowledge(BORN)
        assert memory.acknowledged(AGENT_CHANGE, BORN + DAY) == times
    assert memory.acknowledged(AGENT_CHANGE, BORN + 31 * DAY) == 0
    assert not memory.raised


def test_maturity_needs_age_and_use() -> None:
    life = Life(days=2.9)
    assert not life.memory.is_mature(life.now, life.observer.thresholds)
    life.see(served(BORN + 3 * DAY))
    assert life.memory.is_mature(life.now, life.observer.thresholds)
    rarely = Memory(BORN, requests=40)
    assert not rarely.is_mature(BORN + 5 * DAY, life.observer.thresholds)
    assert rarely.is_mature(BORN + 15 * DAY, life.observer.thresholds)
