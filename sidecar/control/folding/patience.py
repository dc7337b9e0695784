"""Leaves alone what the store did not do, for longer each time, while everything else goes on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sidecar.store.client import StoreUnavailable

Thing = TypeVar("Thing", bound=Hashable)

RETRY_FIRST, RETRY_MOST = 0.2, 2.0
"""Seconds that what failed is left alone, at first and at most."""


class ShardsAway(StoreUnavailable):
    """Some shards have not taken their part. They are left alone by themselves: whoever asked may go on asking for the others."""


@dataclass
class _Failure:
    reason: StoreUnavailable
    until: float
    delay: float = RETRY_FIRST


class Patience:
    """What failed last time, each by itself; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[Hashable, _Failure] = {}

    @property
    def reason(self) -> StoreUnavailable | None:
        """Why something has not succeeded since it failed; None when nothing failed."""
        return next((failure.reason for failure in self._failures.values()), None)

    def rests(self, what: Hashable) -> bool:
        """Whether it is too early to try this again."""
        failure = self._failures.get(what)
        return failure is not None and self._clock() < failure.until

    def failed(self, what: Hashable, reason: StoreUnavailable) -> None:
        """Leave this alone for a while; not so where some shards alone failed, which rest each by itself."""
        before = self._failures.get(what)
        delay = RETRY_FIRST if before is None else min(RETRY_MOST, before.delay * 2)
        if isinstance(reason, ShardsAway):
            self._failures[what] = _Failure(reason, self._clock())
        else:
            self._failures[what] = _Failure(reason, self._clock() + delay, delay)

    def succeeded(self, what: Hashable) -> None:
        """This works."""
        self._failures.pop(what, None)

    def awake(self, things: list[Thing]) -> list[Thing]:
        """Those that may be tried. Most often nothing has failed, and this is asked in every turn."""
        return [what for what in things if not self.rests(what)] if self._failures else things

    def heed(self, asked: Iterable[Hashable], failures: Mapping[Any, StoreUnavailable]) -> None:
        """Take note of an attempt at all that was `asked`: `failures` has what failed, the rest works."""
        if not self._failures and not failures:
            return
        for what in asked:
            if what in failures:
                self.failed(what, failures[what])
            else:
                self.succeeded(what)

    def hurry(self) -> None:
        """Let everything be tried again at once."""
        for failure in self._failures.values():
            failure.until = self._clock()
