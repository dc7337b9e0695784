from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.detectors.signals import BY_NAME, LEVELS, PAGE_SCORE, TABLE, level, score
from tests.support.source import ROOT

SIGNALS = st.sets(st.sampled_from(sorted(BY_NAME)))


@given(SIGNALS, st.sampled_from(sorted(BY_NAME)))
def test_one_more_signal_never_lowers_anything(names: set[str], more: str) -> None:
    before, after = [BY_NAME[name] for name in names], [BY_NAME[name] for name in names | {more}]
    assert score(after) >= score(before)
    assert LEVELS.index(level(after)) >= LEVELS.index(level(before))


@given(SIGNALS)
def test_nothing_pages_without_an_anchor_or_by_one_kind(names: set[str]) -> None:
    active = [BY_NAME[name] for name in names]
    if level(active) != "page":
        return
    assert any(signal.anchor for signal in active)
    assert len({signal.kind for signal in active}) > 1 or any(signal.weight >= PAGE_SCORE for signal in active)


def test_volume_alone_is_a_warning_however_it_is_measured() -> None:
    volume = [signal for signal in TABLE if signal.kind == "volume"]
    assert level(volume) == "warn"
    assert score(volume) == max(signal.weight for signal in volume)


def test_a_new_network_with_a_burst_pages_and_by_itself_is_a_notice() -> None:
    assert level([BY_NAME["new_network"]]) == "notice"
    assert level([BY_NAME["new_network"], BY_NAME["new_network_spike"]]) == "page"
    assert level([BY_NAME["new_network"], BY_NAME["agent_change"], BY_NAME["stranger"]]) == "page"


def test_two_small_signs_of_different_kinds_are_a_warning_together() -> None:
    small = [BY_NAME["new_network"], BY_NAME["agent_change"]]
    assert not any(signal.warns for signal in small)
    assert (score(small), level(small)) == (4, "warn")


def test_what_repeats_is_held_for_minutes_and_what_is_found_once_for_hours_or_a_day() -> None:
    held = {"volume": 900, "refusals": 900, "spread": 3600, "source": 3600}
    expected = {signal.name: held.get(signal.kind, 86_400) for signal in TABLE} | {"off_hours": 3600}
    assert {signal.name: signal.hold for signal in TABLE} == expected


def test_a_silence_broken_at_an_idle_hour_is_one_sign() -> None:
    """After weeks of silence nearly every hour is idle: of a monthly job the two together would make a page."""
    assert level([BY_NAME["dormant_reactivated"], BY_NAME["off_hours"]]) == "warn"


def test_each_signal_is_raised_somewhere() -> None:
    files = [file for file in (ROOT / "sidecar/control/anomaly").rglob("*.py") if file.name != "signals.py"]
    # Within functions: a table of nouns or weights is no look.
    functions = [node for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    used = {node.id for function in functions for node in ast.walk(function) if isinstance(node, ast.Name)}
    assert {signal.name.upper() for signal in TABLE} <= used, "a signal is declared and nothing looks for it"


def test_the_manual_has_each_signal_as_it_is() -> None:
    manual = (ROOT / "docs/anomaly-detection.md").read_text()
    for signal in TABLE:
        anchor, warns = ("yes" if flag else "" for flag in (signal.anchor, signal.warns))
        assert f"| `{signal.name}` | {signal.weight} | {signal.kind} | {anchor} | {warns} |" in manual
        assert signal.meaning in manual
