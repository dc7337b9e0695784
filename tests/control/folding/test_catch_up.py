from __future__ import annotations

from pathlib import Path

from sidecar.control.folding.catch_up import added_up
from sidecar.control.folding.spools import Spools
from sidecar.events.spool import segments
from tests.control.support.events import key_id, request
from tests.control.support.folding import write, writer
from tests.support.disk import unreadable


async def test_what_can_be_read_before_what_cannot_is_added_up(tmp_path: Path) -> None:
    spool = writer(tmp_path, segment_bytes=10)
    write(spool, *(request(key_id(1)) for _ in range(4)))
    spools = Spools(tmp_path)
    spools.scan()
    first = spools.read(spool.spool_id, 0)
    files = segments(tmp_path)
    with unreadable(files[2].path):
        chunk, sums = await added_up(spools, first, spool.position, list)
    assert (chunk.start, chunk.end) == (0, files[2].base) and sum(row.requests for row in sums.rows) == 2
    chunk, sums = await added_up(spools, first, spool.position, list)
    assert (chunk.start, chunk.end) == (0, spool.position) and sum(row.requests for row in sums.rows) == 4
    chunk, sums = await added_up(spools, first, files[3].base, list)
    assert (chunk.start, chunk.end) == (0, files[3].base) and sum(row.requests for row in sums.rows) == 3
