"""Which key may have one more of a worker's places? Pure.

Dynamic thresholds, as switches share their buffer memory among ports (Choudhury and Hahne, 1998): a
key may hold at most twice as many places as are free. One key alone gets two thirds of the places;
the more keys ask, the less each may hold, and some places are always free for a key that has none.
"""

from __future__ import annotations

GREED = 2
"""Places that a key may hold for each free one."""


def has_place(held: int, taken: int, places: int) -> bool:
    """Whether a key that holds `held` of the `taken` among `places` may have one more."""
    return held < GREED * (places - taken)
