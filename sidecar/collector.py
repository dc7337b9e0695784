"""The interpreter's cycle collector, told how this program uses memory."""

from __future__ import annotations

import gc

YOUNG = 50_000
"""New objects after which the control process looks for cycles: a stretch of events makes tens of thousands, and
all of them die by themselves. At the default of 700 the search costs a fifth of the fold."""


def settle(young: int | None = None) -> None:
    """Leave what is here now out of every later search, which would hold up requests for some milliseconds.

    `young` new objects begin a search, instead of the interpreter's own number.
    """
    if young is not None:
        gc.set_threshold(young, *gc.get_threshold()[1:])
    gc.collect()
    gc.freeze()
