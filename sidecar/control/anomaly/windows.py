"""Sums over the last minute and the last five, kept running: a step costs the same however busy the key is."""

from __future__ import annotations

import msgspec

STEP = 10
"""Seconds of traffic that are looked at together."""

MINUTE_STEPS, FIVE_STEPS = 6, 30

SERVED, REFUSED, TOKENS, STRANGE = 0, 1, 2, 3
"""Places in sums and rows: served and refused requests, tokens, and the served requests that came from new networks."""

_INDEX = 4


class Window(msgspec.Struct, array_like=True, gc=False):
    """Sums of the steps that had traffic. `minute` and `five` are right as of the last `add`."""

    minute: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    five: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    rows: list[list[int]] = []
    split: int = 0
    """The first row that is still in the minute."""

    def add(self, time: int, served: int, refused: int, tokens: int, strange: int) -> None:
        """Count into the step of `time`, and let go of what is older than the windows."""
        index = time // STEP
        rows, minute, five = self.rows, self.minute, self.five
        if rows and rows[-1][_INDEX] >= index:
            row = rows[-1]
            row[SERVED] += served
            row[REFUSED] += refused
            row[TOKENS] += tokens
            row[STRANGE] += strange
        else:
            rows.append([served, refused, tokens, strange, index])
        minute[SERVED] += served
        five[SERVED] += served
        minute[TOKENS] += tokens
        five[TOKENS] += tokens
        if refused or strange:
            for sums in (minute, five):
                sums[REFUSED] += refused
                sums[STRANGE] += strange
        oldest = index - MINUTE_STEPS
        while rows[self.split][_INDEX] <= oldest:
            _subtract(minute, rows[self.split])
            self.split += 1
        oldest = index - FIVE_STEPS
        while rows[0][_INDEX] <= oldest:
            _subtract(five, rows.pop(0))
            self.split -= 1


def _subtract(sums: list[int], row: list[int]) -> None:
    sums[SERVED] -= row[SERVED]
    sums[REFUSED] -= row[REFUSED]
    sums[TOKENS] -= row[TOKENS]
    sums[STRANGE] -= row[STRANGE]
