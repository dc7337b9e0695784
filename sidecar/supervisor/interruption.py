"""Reading that may never end: a secret's file may be a pipe that nobody writes to, or on a disk that does not answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """It took too long, or the sidecar was told to end meanwhile."""


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise Interrupted in what is done here after `seconds`, or at SIGTERM or SIGINT. For the main thread only."""
    armed = True

    def interrupt(*_: object) -> None:
        if armed:
            raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in _NUMBERS}
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            armed = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
