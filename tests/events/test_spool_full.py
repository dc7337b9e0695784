"""A spool without room: the worker goes on, records are dropped and counted, and what is written stays readable."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.events.spool import MAX_RECORD, RETRY_SECONDS, SpoolWriter, records, segments
from tests.support.disk import UNLISTABLE, unlistable

PROGRAM = """
import json, resource, sys
from pathlib import Path
from sidecar.events.spool import SpoolWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
spool = SpoolWriter(Path(sys.argv[1]), segment_bytes=1 << 30, max_bytes=1 << 40)
kept = [spool.append(b"%d" % number * 50) for number in range(100)]
full = spool.dropped
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept += [spool.append(b"later"), spool.append(b"too")]
print(json.dumps([kept, full, spool.dropped, spool.position]))
"""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def without_room(_fd: int, _size: int) -> None:
    raise OSError(errno.ENOSPC, "no room")


def read(directory: Path) -> list[bytes]:
    return [record for segment in segments(directory) for _, record in records(segment.path.read_bytes())]


@pytest.mark.parametrize("size", [1, 500, 517, 1009, 1023])
def test_a_disk_that_fills_up_in_mid_record_tears_nothing(tmp_path: Path, size: int) -> None:
    """A bound on the file's size makes the kernel write short and then refuse, as a full disk does."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path), str(size)], capture_output=True, text=True, check=True, timeout=60)
    kept, full, dropped, position = json.loads(done.stdout)
    assert 0 < full == dropped == kept.count(False) < 101 and kept[-2:] == [True, True]
    found = read(tmp_path)
    assert len(found) == kept.count(True) and found[-2:] == [b"later", b"too"]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) == position


def test_at_its_bound_it_looks_for_room_once_a_second_and_finds_it(tmp_path: Path) -> None:
    clock = Clock()
    spool = SpoolWriter(tmp_path, segment_bytes=100, max_bytes=250, clock=clock)
    while spool.append(b"x" * 40):
        pass
    assert spool.dropped == 1 and len(segments(tmp_path)) == 2
    segments(tmp_path)[0].path.unlink()
    assert not spool.append(b"y"), "it has looked a moment ago"
    clock.now += RETRY_SECONDS
    assert spool.append(b"z")
    spool.close()


def test_a_segment_that_is_deleted_while_it_looks_for_room_costs_nothing(tmp_path: Path) -> None:
    # A name without a file is what a file is that goes between the look at the directory and the look at the file.
    (tmp_path / "0011223344556677-0000000000000000.spool").symlink_to(tmp_path / "deleted")
    spool = SpoolWriter(tmp_path, segment_bytes=100, max_bytes=1000)
    assert spool.append(b"x") and not spool.dropped
    spool.close()


def test_a_record_that_no_reader_takes_costs_only_itself(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, segment_bytes=1 << 30, max_bytes=1 << 40)
    kept = [bytes(MAX_RECORD), b"x", b"y"]
    assert [spool.append(record) for record in (kept[0], kept[1], bytes(MAX_RECORD + 1), kept[2])] == [True, True, False, True]
    assert spool.dropped == 1 and read(tmp_path) == kept
    spool.close()


def test_a_directory_that_cannot_be_written_drops_and_counts(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path / "absent", segment_bytes=100, max_bytes=1000)
    assert not spool.append(b"x") and spool.dropped == 1


@pytest.mark.parametrize("reason", UNLISTABLE)
def test_where_nobody_can_tell_what_is_there_nothing_is_begun(tmp_path: Path, reason: int) -> None:
    clock = Clock()
    (tmp_path / "0011223344556677-0000000000000000.spool").write_bytes(bytes(1000))
    spool = SpoolWriter(tmp_path, segment_bytes=100, max_bytes=1000, clock=clock)
    with unlistable(reason):
        assert not spool.append(b"x") and spool.dropped == 1
    assert len(segments(tmp_path)) == 1
    (tmp_path / "0011223344556677-0000000000000000.spool").unlink()
    clock.now += RETRY_SECONDS
    assert spool.append(b"y")
    spool.close()


@pytest.mark.parametrize("writers", [1, 2, 5])
@pytest.mark.parametrize("bound", [4000, 4096, 20_000])
def test_a_bound_that_was_reached_is_left_when_all_was_read(tmp_path: Path, writers: int, bound: int) -> None:
    """Only the last segment of a living writer cannot be deleted: these together must never fill the spool."""
    clock = Clock()
    spools = [SpoolWriter(tmp_path, segment_bytes=512, max_bytes=bound, writers=writers, clock=clock) for _ in range(writers)]
    for _ in range(3):
        while [spool for spool in spools if spool.append(b"x" * 12)]:
            assert sum(segment.path.stat().st_size for segment in segments(tmp_path)) <= bound + writers * 20
        last = {segment.spool_id: segment.path for segment in segments(tmp_path)}
        for segment in segments(tmp_path):
            if segment.path != last[segment.spool_id]:
                segment.path.unlink()
        clock.now += RETRY_SECONDS
        assert [spool for spool in spools if spool.append(b"y")]
    for spool in spools:
        spool.close()


@pytest.mark.parametrize("written", [0, 2])
def test_what_is_left_of_a_record_is_removed_before_the_next_though_the_disk_could_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """File systems that copy on write need room even to cut a file off."""
    clock = Clock()
    writer = SpoolWriter(tmp_path, segment_bytes=1 << 10, max_bytes=1 << 20, clock=clock)
    before = [b"whole %d" % number for number in range(written)]
    assert all(writer.append(record) for record in before)
    with monkeypatch.context() as full:
        write = os.write
        full.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        full.setattr(os, "ftruncate", without_room)
        assert not writer.append(b"in part") and not writer.append(b"not at all")
        clock.now += RETRY_SECONDS
        assert not writer.append(b"nor later")
    clock.now += RETRY_SECONDS
    assert writer.append(b"at last")
    assert read(tmp_path) == [*before, b"at last"]
    (segment,) = segments(tmp_path)
    assert (writer.position, writer.dropped) == (segment.path.stat().st_size, 3)
    writer.close()


def test_a_segment_that_cannot_be_locked_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a file system that is out of locks takes a descriptor each second, until there are none for clients."""
    clock = Clock()
    spool = SpoolWriter(tmp_path, segment_bytes=1 << 20, max_bytes=1 << 30, clock=clock)
    before = sorted(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as out_of_locks:
        out_of_locks.setattr("fcntl.flock", without_room)
        for _ in range(5):
            clock.now += RETRY_SECONDS
            assert not spool.append(b"lost")
    assert sorted(os.listdir("/proc/self/fd")) == before
    clock.now += RETRY_SECONDS
    assert spool.append(b"kept")
    assert [record for segment in segments(tmp_path) for _, record in records(segment.path.read_bytes())] == [b"kept"]
    spool.close()
