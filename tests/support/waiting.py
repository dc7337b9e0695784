"""Waiting on conditions instead of hoping that some time is enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(look: Callable[[], Found], within: float = 10.0) -> Found:
    """The first true answer of `look`; the test fails when there is none in time."""
    end = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < end, f"waited {within:g} s in vain"
        time.sleep(0.01)
    return found
