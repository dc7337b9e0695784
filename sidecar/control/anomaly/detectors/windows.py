"""Sums over the last minute and the last five, kept running: a step costs the same however busy the key is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sidecar.control.anomaly.detectors.amounts import PLACES, STEP_NUMBER, STRANGE

STEP = 10
"""Seconds of traffic that are looked at together."""

MINUTE_STEPS, FIVE_STEPS = 6, 30
SMALL = 127


class Window(msgspec.Struct, array_like=True, gc=False):
    """Sums of the steps that had traffic, by the places of `amounts`. `minute` and `five` are right as of the last `add`."""

    minute: list[int] = []
    five: list[int] = []
    rows: list[list[int]] = []
    split: int = 0
    """The first row that is still in the minute."""
    base: int = 0
    """What the numbers of steps count from, so that they take a byte of each stored row instead of five."""

    def __post_init__(self) -> None:
        """Give what an earlier version stored the places that it did not know."""
        for sums in (self.minute, self.five, *self.rows):
            sums.extend([0] * (PLACES - len(sums)))

    def add(self, time: int, amounts: Sequence[int], strange: int) -> None:
        """Count into the step of `time`, and let go of what is older than the windows; `strange` goes to its place."""
        rows, minute, five = self.rows, self.minute, self.five
        number = self._number(time // STEP)
        if rows and number <= rows[-1][STEP_NUMBER] - MINUTE_STEPS:
            # Older than a minute: the clock was put back, or another worker's spool was read late. Nothing would leave the sums.
            self._begin_anew(time // STEP)
            number = 0
        if not rows or rows[-1][STEP_NUMBER] < number:
            row = [0] * PLACES
            row[STEP_NUMBER] = number
            rows.append(row)
        row = rows[-1]
        for place, amount in enumerate(amounts):
            if amount:
                row[place] += amount
                minute[place] += amount
                five[place] += amount
        if strange:
            for sums in (row, minute, five):
                sums[STRANGE] += strange
        oldest = number - MINUTE_STEPS
        while rows[self.split][STEP_NUMBER] <= oldest:
            _subtract(minute, rows[self.split])
            self.split += 1
        oldest = number - FIVE_STEPS
        while rows[0][STEP_NUMBER] <= oldest:
            _subtract(five, rows.pop(0))
            self.split -= 1

    def _begin_anew(self, step: int) -> None:
        self.rows.clear()
        self.minute[:], self.five[:] = [0] * PLACES, [0] * PLACES
        self.split, self.base = 0, step

    def _number(self, step: int) -> int:
        """The number of `step`; all are made small again when they no longer are."""
        number = step - self.base
        if number > SMALL:
            moved = self.rows[0][STEP_NUMBER] if self.rows else number
            for row in self.rows:
                row[STEP_NUMBER] -= moved
            self.base += moved
            number -= moved
        return number


def _subtract(sums: list[int], row: list[int]) -> None:
    for place, amount in enumerate(row):
        if amount and place != STEP_NUMBER:
            sums[place] -= amount
