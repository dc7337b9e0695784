"""Does one thing for each of several, of which one may be where the store does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from sidecar.store.client import StoreUnavailable

Thing = TypeVar("Thing")


async def apart(things: Iterable[Thing], act: Callable[[Thing], Awaitable[object]]) -> None:
    """Do `act` for each; raises StoreUnavailable for one that failed, with all the others done."""
    failure: StoreUnavailable | None = None
    for thing in things:
        try:
            await act(thing)
        except StoreUnavailable as error:
            failure = error
    if failure is not None:
        raise failure
