"""The event loop that the product runs on, for tests."""

from __future__ import annotations

import asyncio
import warnings

import uvloop


def product() -> asyncio.AbstractEventLoop:
    """uvloop: its transports end, pause and fail in other orders than asyncio's own.

    It closes whatever a test that failed has left open. By itself uvloop gives up at the first warning that is
    an error, and then waits for ever for the transport that it warned of.
    """
    loop = uvloop.new_event_loop()
    close = loop.close

    def close_and_tell() -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            close()
        for each in told:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)

    loop.close = close_and_tell  # type: ignore[method-assign]
    return loop
