"""Spools that cannot be read, beside some that can."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.control.folding.ledger import LANES
from sidecar.control.folding.loop import FoldLoop
from sidecar.events.spool import SpoolWriter, segments
from sidecar.store.client import Store
from tests.control.support.events import key_id, request
from tests.control.support.folding import Folding, usage_of, write, writer
from tests.support.disk import unreadable

A, B = key_id(1), key_id(2)


def two(directory: Path) -> tuple[SpoolWriter, SpoolWriter, Path]:
    """Two spools in the order in which they are read, and the file of the first."""
    spools = sorted((writer(directory), writer(directory)), key=lambda spool: spool.spool_id)
    write(spools[0], *(request(A) for _ in range(5)))
    write(spools[1], *(request(B) for _ in range(3)))
    return spools[0], spools[1], segments(directory)[0].path


async def stored(store: Store, key: str) -> int:
    return (await usage_of(store).usage(key, None, None, "1h", None)).totals.requests


@pytest.mark.parametrize("sized", [False, True])
async def test_a_spool_that_cannot_be_read_keeps_nobody_else_waiting(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture, sized: bool
) -> None:
    broken, other, file = two(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    loop = FoldLoop(folding.fold)
    with unreadable(file, sized=sized):
        for turn in range(3):
            folding.fold.hurry()
            # Else it would ask the processor as often as it can.
            assert await loop.turn() > 0
            assert (folding.requests(A), folding.requests(B)) == (0, 3 + turn)
            assert (await stored(store, A), await stored(store, B)) == (0, 3 + turn)
            write(other, request(B))
            write(broken, request(A))
        assert f"{file} cannot be read" in loop.complaint
        assert not await loop.finish(0.1)
        assert caplog.text.count("cannot be read") == 1
        assert folding.fold.backlog() >= 0 and folding.spools.size() > 0, "status and metrics are answered"
    assert await loop.finish(5.0) and loop.complaint == ""
    assert (folding.requests(A), folding.requests(B)) == (8, 6)
    assert (await stored(store, A), await stored(store, B)) == (8, 6)


async def test_what_was_counted_before_is_not_counted_again(tmp_path: Path, store: Store) -> None:
    broken, _, file = two(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    loop = FoldLoop(folding.fold)
    await loop.turn()
    write(broken, request(A))
    with unreadable(file):
        await loop.turn()
        assert loop.complaint and folding.requests(A) == 5
    assert await loop.finish(5.0)
    assert (folding.requests(A), await stored(store, A)) == (6, 6)


async def test_what_is_counted_waits_for_a_lane_that_cannot_read_it(tmp_path: Path, store: Store) -> None:
    broken, _, file = two(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    await folding.fold.restore()
    folding.fold.count()
    write(broken, request(A))
    # What is read in this turn begins behind what the lanes need.
    folding.fold.count()
    with unreadable(file):
        for lane in LANES:
            await folding.fold.apply(lane)
        assert (await stored(store, A), await stored(store, B)) == (0, 3)
        assert not any(map(folding.fold.trails, LANES)), "nothing that could be done at once"
        assert folding.fold.failures.complaint
    await folding.run()
    assert folding.fold.failures.complaint == ""
    assert (folding.requests(A), await stored(store, A)) == (6, 6)


async def test_a_spool_that_is_gone_is_complained_of_no_longer(tmp_path: Path, store: Store) -> None:
    _, _, file = two(tmp_path / "spool")
    folding = Folding(tmp_path / "spool", store)
    loop = FoldLoop(folding.fold)
    with unreadable(file):
        await loop.turn()
        assert loop.complaint
    file.unlink()
    await loop.turn()
    assert loop.complaint == ""
