from __future__ import annotations

import ast
from dataclasses import fields

import pytest

from sidecar.control.anomaly.detectors import amounts
from sidecar.control.anomaly.detectors.amounts import PEAKS, PLACES, STRANGE, SUMMED, Measure, measures, times
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from tests.support.source import ROOT

STORED = {"SERVED": 0, "REFUSED": 1, "TOKENS": 2, "STRANGE": 3, "STEP_NUMBER": 4}
STORED_PEAKS = {"REQUEST_PEAKS": 0, "TOKEN_PEAKS": 3, "TOKENS_DAY": 6, "NETWORKS": 7, "IN_FLIGHT": 8}
"""As every key's memory has them: what is here stays as it is, and what is new is added."""

MEASURES = measures(Thresholds())


@pytest.fixture(params=MEASURES, ids=[measure.signal.name for measure in MEASURES])
def measure(request: pytest.FixtureRequest) -> Measure:
    found: Measure = request.param
    return found


def test_places_are_what_is_stored() -> None:
    for name, place in (STORED | STORED_PEAKS).items():
        assert getattr(amounts, name) == place, name


def test_no_two_amounts_share_a_place_and_none_is_left_out() -> None:
    assert sorted([STRANGE, amounts.STEP_NUMBER, *(amount.place for amount in SUMMED)]) == list(range(PLACES))
    learnt = [place for amount in SUMMED if amount.peaks is not None for place in range(amount.peaks, amount.peaks + 3)]
    assert sorted([amounts.TOKENS_DAY, amounts.NETWORKS, amounts.IN_FLIGHT, *learnt]) == list(range(PEAKS))


def test_an_amount_is_measured_against_its_own_peaks(measure: Measure) -> None:
    own = {amount.place: amount.peaks for amount in SUMMED}
    # What is strange is a part of what is served, and too much of it is more than all that was ever served.
    assert measure.peaks == own[amounts.SERVED if measure.place == STRANGE else measure.place]


def test_no_amount_is_measured_twice() -> None:
    assert len({measure.place for measure in MEASURES}) == len(MEASURES)
    assert len({(measure.minute, measure.five) for measure in MEASURES}) == len(MEASURES), "one has another one's lines"


def test_no_line_is_below_the_peaks_under_which_nothing_is_measured(measure: Measure) -> None:
    assert min(measure.minute.over_peak, measure.five.over_peak) >= 1


def test_each_threshold_is_asked_for() -> None:
    files = [file for file in (ROOT / "sidecar/control/anomaly").rglob("*.py") if file.name != "thresholds.py"]
    asked = {node.attr for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
    assert {threshold.name for threshold in fields(Thresholds)} <= asked


def test_an_amount_is_told_as_a_multiple_of_what_is_usual() -> None:
    assert (times(35, 10), times(1, 0)) == ("3.5×", "far beyond")
