"""Ends a run in which a test waits for ever, and says where: pytest's own timeout costs each test two milliseconds."""

from __future__ import annotations

import faulthandler
import os
import time

import pytest

LONGEST = 1200
"""Seconds; the longest test, ten minutes without a store, takes less."""
AGAIN = 60
"""Seconds for which the clock is left alone: a thread ends and another begins where it is set back."""


class Patience:
    """A plugin of pytest; `longest` seconds after a test began, less `AGAIN`, every thread's stack is told, and the run ends."""

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        # Before pytest captures what tests write.
        self._fd = os.dup(2)
        self._set_at = float("-inf")

    def pytest_runtest_logstart(self) -> None:
        """A test begins."""
        if time.monotonic() - self._set_at >= AGAIN:
            self._set()

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self) -> None:
        """A test has failed. pytest stops the clock then, for a debugger; what the test leaves open may wait for ever."""
        self._set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """The run has ended; the process has not."""
        self._set()

    def _set(self) -> None:
        faulthandler.dump_traceback_later(self._longest, exit=True, file=self._fd)
        self._set_at = time.monotonic()
