from __future__ import annotations

import pytest

from sidecar.control.anomaly.detectors.amounts import REQUEST_PEAKS, SERVED, STRANGE, TOKEN_PEAKS, TOKENS
from sidecar.control.anomaly.detectors.baseline import NO_PEAKS, Peaks
from sidecar.control.anomaly.detectors.memory import Feedback, Memory
from sidecar.control.anomaly.detectors.signals import DAY
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.anomaly.detectors.volume import Volume
from tests.control.anomaly.life import AWAY, BORN, KEY, Life, peaks, served


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
        second.amounts[TOKENS] = 20_000
        life.see(second)
    assert life.signals == {"token_burn"}


def test_a_day_far_beyond_the_week_is_said_once() -> None:
    life = _busy()
    life.later(DAY - life.now % DAY)
    said: list[str] = []
    for _ in range(12):
        second = served(life.later(3600), 1)
        second.amounts[TOKENS] = 1_000_000
        life.see(second)
        said += [raised.evidence for raised in life.memory.raised.values()]
    assert [text for text in said if "today" in text] == ["6000000 tokens today, 6.9× its best day of the week"]
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
    assert young.memory.baseline.usual[REQUEST_PEAKS] <= old.memory.baseline.usual[REQUEST_PEAKS]


def _judge(place: int, minute: int, five: int, usual: Peaks, *, days: int = 7, waved_through: int = 0) -> dict[str, str]:
    """Signals, with their evidence, of a key whose windows hold these amounts."""
    memory = Memory(BORN)
    memory.baseline.usual, memory.baseline.days = usual, [(day, NO_PEAKS) for day in range(days)]
    for at in {place, SERVED} if place == STRANGE else {place}:
        memory.window.minute[at], memory.window.five[at] = minute, five
    if waved_through:
        memory.feedback = {name: Feedback(waved_through, BORN) for name in ("request_spike", "new_network_spike", "token_burn")}
    Volume(Thresholds()).judge(memory, BORN, 0)
    return {name: raised.evidence for name, raised in memory.raised.items()}


# In each row the amount is the first that is too much: one less is nothing.
@pytest.mark.parametrize(
    ("minute", "usual", "days", "waved_through"),
    [
        pytest.param(40, peaks((1, 5, 60)), 7, 0, id="the floor"),
        pytest.param(81, peaks((40, 200, 240)), 7, 0, id="twice the busiest minute"),
        pytest.param(121, peaks((40, 200, 2400)), 7, 0, id="three times the busiest hour"),
        pytest.param(121, peaks((40, 200, 240)), 6, 0, id="half as much again while the baseline is young"),
        pytest.param(161, peaks((40, 200, 240)), 7, 2, id="twice as much after two acknowledgements"),
        pytest.param(241, peaks((40, 200, 240)), 6, 2, id="and both"),
    ],
)
def test_requests_of_a_minute_have_a_floor_and_two_lines(minute: int, usual: Peaks, days: int, waved_through: int) -> None:
    assert _judge(SERVED, minute - 1, minute - 1, usual, days=days, waved_through=waved_through) == {}
    evidence = f"{minute} requests in a minute, {minute * 60 / usual[REQUEST_PEAKS + 2]:.1f}× its busiest hour of the week"
    assert _judge(SERVED, minute, minute, usual, days=days, waved_through=waved_through) == {"request_spike": evidence}


@pytest.mark.parametrize(
    ("five", "usual"),
    [
        pytest.param(150, peaks((30, 60, 240)), id="the floor"),
        pytest.param(301, peaks((99, 200, 1000)), id="one and a half times the busiest five minutes"),
        pytest.param(601, peaks((99, 300, 2400)), id="three times the busiest hour"),
    ],
)
def test_requests_of_five_minutes_have_a_floor_and_two_lines(five: int, usual: Peaks) -> None:
    assert _judge(SERVED, 20, five - 1, usual) == {}
    evidence = f"{five} requests in 5 minutes, {five * 12 / usual[REQUEST_PEAKS + 2]:.1f}× its busiest hour of the week"
    assert _judge(SERVED, 20, five, usual) == {"request_spike": evidence}


def test_requests_of_new_networks_have_a_lower_floor_and_are_said_by_themselves() -> None:
    usual = peaks((1, 5, 60))
    assert _judge(STRANGE, 24, 24, usual) == {}
    evidence = "25 requests from new networks alone in a minute, 25.0× its busiest hour of the week"
    assert _judge(STRANGE, 25, 25, usual) == {"new_network_spike": evidence}
    assert set(_judge(STRANGE, 40, 40, usual)) == {"request_spike", "new_network_spike"}


@pytest.mark.parametrize(
    ("minute", "five", "usual", "words"),
    [
        (120, 120, peaks((1, 5, 60)), "120 requests from new networks alone in a minute, 120.0×"),
        (20, 130, peaks((20, 20, 20)), "130 requests from new networks alone in 5 minutes, 78.0×"),
        (25, 25, NO_PEAKS, "25 requests from new networks alone in a minute, far beyond"),
        (0, 2_000_000, NO_PEAKS, "2000000 requests from new networks alone in 5 minutes, far beyond"),
    ],
)
def test_what_new_networks_bring_is_said_to_the_end(minute: int, five: int, usual: Peaks, words: str) -> None:
    assert _judge(STRANGE, minute, five, usual)["new_network_spike"] == f"{words} its busiest hour of the week"


@pytest.mark.parametrize(
    ("minute", "five", "usual", "evidence"),
    [
        (30_000, 30_000, peaks(tokens=(0, 0, 60_000)), "30000 tokens in a minute, 30.0×"),
        (60_001, 60_001, peaks(tokens=(30_000, 60_001, 60_000)), "60001 tokens in a minute, 60.0×"),
        (90_001, 90_001, peaks(tokens=(30_000, 150_000, 1_800_000)), "90001 tokens in a minute, 3.0×"),
        (9_000, 150_000, peaks(tokens=(1_000, 60_000, 60_000)), "150000 tokens in 5 minutes, 30.0×"),
        (9_000, 200_001, peaks(tokens=(9_000, 100_000, 60_000)), "200001 tokens in 5 minutes, 40.0×"),
        (9_000, 300_001, peaks(tokens=(9_000, 100_000, 1_200_000)), "300001 tokens in 5 minutes, 3.0×"),
    ],
)
def test_tokens_have_floors_and_lines_of_their_own(minute: int, five: int, usual: Peaks, evidence: str) -> None:
    assert _judge(TOKENS, min(minute, five - 1) - (minute == five), five - 1, usual) == {}
    assert _judge(TOKENS, minute, five, usual) == {"token_burn": f"{evidence} its busiest hour of the week"}


@pytest.mark.parametrize(("knowing", "older", "is_told"), [(0, 7, False), (2, 5, False), (3, 4, True), (2, 0, True), (0, 0, True)])
def test_an_amount_that_an_upgrade_brought_is_learnt_before_it_is_measured(knowing: int, older: int, is_told: bool) -> None:
    """Against days that did not know it everything would be too much, for every key at once."""
    memory = Memory(BORN)
    memory.baseline.days = [(day, NO_PEAKS[:TOKEN_PEAKS]) for day in range(older)] + [(8 + day, NO_PEAKS) for day in range(knowing)]
    memory.window.minute[TOKENS] = memory.window.five[TOKENS] = 10**9
    Volume(Thresholds()).judge(memory, BORN, 0)
    assert (set(memory.raised) == {"token_burn"}) is is_told


@pytest.mark.parametrize(("knowing", "above"), [(3, 1.5), (6, 1.5), (7, 1.0)])
def test_an_amount_is_young_for_as_long_as_a_week_has_not_known_it(knowing: int, above: float) -> None:
    usual = peaks(tokens=(30_000, 10**9, 0))
    line = int(2 * 30_000 * above)
    for amount, is_told in ((line, False), (line + 1, True)):
        memory = Memory(BORN)
        memory.baseline.days = [(day, NO_PEAKS[:TOKEN_PEAKS] if day + knowing < 7 else NO_PEAKS) for day in range(7)]
        memory.baseline.usual = usual
        memory.window.minute[TOKENS] = memory.window.five[TOKENS] = amount
        Volume(Thresholds()).judge(memory, BORN, 0)
        assert (set(memory.raised) == {"token_burn"}) is is_told


def test_a_key_that_never_was_busy_has_nothing_to_compare_with() -> None:
    assert _judge(SERVED, 40, 40, NO_PEAKS) == {"request_spike": "40 requests in a minute, far beyond its busiest hour of the week"}


@pytest.mark.parametrize(
    ("usual", "days", "line"),
    [
        pytest.param(1_000_000, 7, 5_000_000, id="the floor"),
        pytest.param(2_000_000, 7, 8_000_000, id="four times the best day"),
        pytest.param(2_000_000, 6, 12_000_000, id="six times while the baseline is young"),
    ],
)
def test_the_tokens_of_a_day_are_said_by_the_step_that_crosses_the_line(usual: int, days: int, line: int) -> None:
    def judge(before: int, tokens: int, best_day: int = usual) -> list[str]:
        memory = Memory(BORN)
        memory.baseline.days = [(day, NO_PEAKS) for day in range(days)]
        memory.baseline.usual, memory.baseline.tokens_today = peaks(tokens_day=best_day), before + tokens
        Volume(Thresholds()).judge(memory, BORN, tokens)
        return [raised.evidence for raised in memory.raised.values()]

    crossed = [f"{line + 1} tokens today, {(line + 1) / usual:.1f}× its best day of the week"]
    assert judge(line - 10, 10) == []
    assert judge(line - 10, 11) == crossed
    assert judge(line, 1) == crossed
    assert judge(line + 1, 1) == []
    assert judge(line, 1, best_day=0) == []
