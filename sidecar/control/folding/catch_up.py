"""Adds up much of a spool at once, for details that have fallen behind: each stretch costs the store the same few calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.control.folding.spools import Chunk, Spools
from sidecar.control.totals.sums import Sums

DETAIL_CHUNKS = 8
"""Readings of a spool, of a few MiB each, that are added up together."""


async def added_up(spools: Spools, chunk: Chunk, end: int, redact: Callable[[list[bytes]], list[bytes]]) -> tuple[Chunk, Sums]:
    """`chunk` and what follows it up to offset `end`, as one chunk without records, and its sums."""
    sums = Sums()
    sums.add(chunk.records, redact(chunk.records))
    for _ in range(DETAIL_CHUNKS - 1):
        await asyncio.sleep(0)
        try:
            more = spools.read(chunk.spool_id, chunk.end).until(end)
        except OSError:
            # What was read is brought in. The next stretch begins here, and tells why it cannot.
            break
        if not more.records or chunk.end == end:
            break
        sums.add(more.records, redact(more.records))
        chunk = Chunk(chunk.spool_id, chunk.start, more.end, [], [])
    return chunk, sums
