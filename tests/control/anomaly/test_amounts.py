from __future__ import annotations

from sidecar.control.anomaly.amounts import (
    IN_FLIGHT,
    NETWORKS,
    PEAKS,
    PLACES,
    STEP_NUMBER,
    STRANGE,
    SUMMED,
    TOKENS_DAY,
    measures,
    times,
)
from sidecar.control.anomaly.thresholds import Thresholds


def test_no_two_amounts_share_a_place() -> None:
    """A place that is left out would be filled by an older version's data when it is taken later."""
    assert sorted([STRANGE, STEP_NUMBER, *(amount.place for amount in SUMMED)]) == list(range(PLACES))
    learnt = [place for amount in SUMMED if amount.peaks is not None for place in range(amount.peaks, amount.peaks + 3)]
    assert sorted([TOKENS_DAY, NETWORKS, IN_FLIGHT, *learnt]) == list(range(PEAKS))


def test_what_is_measured_is_summed_and_learnt() -> None:
    places = {STRANGE, *(amount.place for amount in SUMMED)}
    learnt = {amount.peaks for amount in SUMMED}
    for measure in measures(Thresholds()):
        assert measure.place in places and measure.peaks in learnt, measure.signal.name


def test_no_line_is_below_the_peaks_under_which_nothing_is_measured() -> None:
    for measure in measures(Thresholds()):
        assert min(measure.minute.over_peak, measure.five.over_peak) >= 1, measure.signal.name


def test_an_amount_is_told_as_a_multiple_of_what_is_usual() -> None:
    assert (times(35, 10), times(1, 0)) == ("3.5×", "far beyond")
