"""The interpreter's cycle collector, told how this program uses memory."""

from __future__ import annotations

import gc

YOUNG = 200_000
"""New objects after which the control process looks for cycles: as many as the sums of a few seconds of events, which wait until
their details are in the store and then go without its help. At 50,000 the search costs the fold of 10,000 keys a tenth of its time,
at the interpreter's own 700 a fifth."""


def settle(young: int | None = None) -> None:
    """Leave what is here now out of every later search, which would hold up requests for some milliseconds.

    `young` new objects begin a search, instead of the interpreter's own number.
    """
    if young is not None:
        gc.set_threshold(young, *gc.get_threshold()[1:])
    gc.collect()
    gc.freeze()
