from __future__ import annotations

import msgspec
import pytest

from sidecar.control.anomaly.detectors import memory as memories
from sidecar.control.anomaly.detectors.amounts import (
    IN_FLIGHT,
    NETWORKS,
    PEAKS,
    PLACES,
    REFUSED,
    REQUEST_PEAKS,
    SERVED,
    STEP_NUMBER,
    STRANGE,
)
from sidecar.control.anomaly.detectors.baseline import Baseline
from sidecar.control.anomaly.detectors.memory import EVIDENCE_LENGTH, MAX_ENCODED, Feedback, Memory, Raised
from sidecar.control.anomaly.detectors.seen import Seen, Sighting
from sidecar.control.anomaly.detectors.signals import AGENT_CHANGE, DAY, HOUR, NEW_NETWORK, TABLE
from sidecar.control.anomaly.detectors.windows import SMALL, Window
from tests.control.anomaly.life import BORN, Life, served

NOW = 1_900_000_000
MANY, MOST = 60_000, 2**32 - 1
"""Of what is counted, and of what grows faster: tokens, and all that is added later."""
NETWORKS_KEPT = 40


def _full(capacity: int) -> Seen:
    # Only a few can be new at a time: a key that meets more roams, and then they are not called new.
    return Seen(
        capacity, {2**32 - 1 - index: Sighting(NOW, NOW, NOW if index < 6 else 0, True) for index in range(capacity)}, [NOW] * 16, NOW
    )


def _fullest() -> Memory:
    peaks = [MOST] * PEAKS
    for place in (*range(REQUEST_PEAKS, REQUEST_PEAKS + 3), IN_FLIGHT):
        peaks[place] = MANY
    peaks[NETWORKS] = NETWORKS_KEPT
    sums = [MOST] * PLACES
    sums[SERVED] = sums[REFUSED] = sums[STRANGE] = MANY
    row = list(sums)
    row[STEP_NUMBER] = SMALL
    words = "e" * memories.EVIDENCE_LENGTH
    full = Memory(
        NOW,
        requests=MOST,
        last_used=NOW,
        baseline=Baseline(tuple(peaks), [(20_000, tuple(peaks))] * 8, NOW // 3600, peaks, tuple(peaks), MOST, 20_000, [0xFFFF] * 168),
        window=Window(sums, sums, [row] * 30, 3, NOW // 10),
        stranger_since=NOW,
        stranger_requests=MOST,
        raised={signal.name: Raised(NOW, NOW, words) for signal in TABLE if signal.kind != "source"},
        muted={signal.name: NOW for signal in TABLE},
        feedback={signal.name: Feedback(8, NOW) for signal in TABLE},
        changes=MOST,
    )
    for name in ("networks", "agents", "models", "routes", "refused_models"):
        setattr(full, name, _full(getattr(full, name).capacity))
    return full


def test_the_fullest_memory_fits_and_goes_without_what_is_least_missed() -> None:
    full = _fullest()
    data = memories.encode(full)
    assert len(data) <= MAX_ENCODED
    kept = memories.decode(data)
    assert kept.window == Window()
    assert [(up.since, up.until) for up in kept.raised.values()] == [(NOW, NOW)] * len(full.raised)
    assert {up.evidence for up in kept.raised.values()} == {""}
    kept.window, kept.raised = full.window, full.raised
    assert kept == full


def test_a_memory_that_fits_keeps_everything() -> None:
    full = _fullest()
    full.raised, full.muted, full.feedback = {}, {}, {}
    data = memories.encode(full)
    assert len(data) <= MAX_ENCODED
    assert memories.decode(data) == full


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
    data = msgspec.msgpack.decode(memories.encode(memory))
    for place in range(5, 10):
        # What was seen: the time at which room was short is newer.
        assert data[place].pop() == 0
    assert memories.decode(msgspec.msgpack.encode(data)) == expected


def test_a_signal_runs_out_and_can_be_kept_up() -> None:
    memory = Memory(BORN)
    assert memory.raise_signal(NEW_NETWORK, BORN, "first")
    assert not memory.raise_signal(NEW_NETWORK, BORN + 100, "second")
    assert memory.raised["new_network"].evidence == "first"
    assert not memory.lower(BORN + DAY)
    assert memory.lower(BORN + 100 + DAY)
    assert memory.changes == 2


@pytest.mark.parametrize(("ahead", "over"), [(2 * HOUR, 0), (2 * HOUR + 1, BORN)])
def test_what_is_ahead_of_the_clock_is_over_by_it_and_not_by_late_traffic(ahead: int, over: int) -> None:
    memory = Memory(BORN)
    memory.raise_signal(NEW_NETWORK, BORN + ahead, "ahead")
    assert not memory.lower(BORN)
    assert memory.lower(BORN, by_clock=True) == over
    assert bool(memory.raised) == (not over)


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
    assert memory.acknowledged(AGENT_CHANGE, BORN + 99 * DAY) == 2
    assert memory.acknowledged(AGENT_CHANGE, BORN + 100 * DAY) == 0
    assert not memory.raised


def test_maturity_needs_age_and_use() -> None:
    life = Life(days=2.9)
    assert not life.memory.is_mature(life.now, life.observer.thresholds)
    life.see(served(BORN + 3 * DAY))
    assert life.memory.is_mature(life.now, life.observer.thresholds)
    rarely = Memory(BORN, requests=40)
    assert not rarely.is_mature(BORN + 5 * DAY, life.observer.thresholds)
    assert rarely.is_mature(BORN + 15 * DAY, life.observer.thresholds)


def test_evidence_is_one_line_that_reads_from_left_to_right() -> None:
    """It has a client's words in it, and goes into mails and chats."""
    life = Life()
    life.see(served(life.later(60), model="gpt\r\n\x1b[2J\u2028False alarm\u202e: größer"))
    assert [up.evidence for up in life.memory.raised.values()] == ["model never used before: gpt???[2J?False alarm?: größer"]


def test_what_is_new_is_named_one_after_the_other_and_the_latest_in_any_case() -> None:
    memory = Memory(BORN)
    for number in range(1, 4):
        memory.raise_new(NEW_NETWORK, NOW + number, "first use from", f"10.0.{number}.0/24")
    assert memory.raised["new_network"] == Raised(NOW + 1, NOW + 3 + DAY, "first use from 10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24")
    assert memory.changes == 3, "each is told"
    for number in range(4, 40):
        memory.raise_new(NEW_NETWORK, NOW, "first use from", f"10.0.{number}.0/24")
        evidence = memory.raised["new_network"].evidence
        assert f"10.0.{number}.0/24" in evidence and len(evidence) <= EVIDENCE_LENGTH
    memory.raise_new(NEW_NETWORK, NOW, "first use from", "1" * 100)
    assert memory.raised["new_network"].evidence == f"first use from {'1' * 70} and others"
    memory.raised["new_network"].evidence = ""
    memory.raise_new(NEW_NETWORK, NOW, "first use from", "10.1.0.0/24")
    assert memory.raised["new_network"].evidence == "first use from 10.1.0.0/24", "the episode has the other words"


def test_a_muted_signal_names_nothing_new() -> None:
    memory = Memory(BORN, muted={"new_network": NOW + 1})
    memory.raise_new(NEW_NETWORK, NOW, "first use from", "10.0.1.0/24")
    assert (memory.raised, memory.changes) == ({}, 0)
