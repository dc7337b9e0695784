"""Reads the workers' spools: which there are, what is new, which are finished, which segments may go.

A spool whose last segment nobody holds locked belongs to a dead worker and is finished when it has
been read to its end. A torn frame at the end of a live spool is a write under way; anywhere else it
is damage, which is put aside as `<segment>.corrupt`, counted, and stepped over.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.events.spool import FRAME, MAX_RECORD, Segment, segments

READ_BYTES = 4 * MAX_RECORD
_UNLOCKED_GRACE = 2.0
"""Seconds: a new segment exists for a moment before its writer has locked it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one spool that follow each other: from byte `start` of the spool up to `end`."""

    spool_id: str
    start: int
    end: int
    records: list[bytes]
    ends: list[int]
    """The offset after each record."""

    def after(self, position: int) -> list[bytes]:
        """The records that lie beyond `position`."""
        if position <= self.start:
            return self.records
        return [record for record, end in zip(self.records, self.ends, strict=True) if end > position]

    def until(self, position: int) -> Chunk:
        """Its part up to `position`, where a record ends."""
        if not self.start < position < self.end:
            return self
        count = bisect_right(self.ends, position)
        return Chunk(self.spool_id, self.start, position, self.records[:count], self.ends[:count])


@dataclass(slots=True)
class _Spool:
    segments: list[Segment] = field(default_factory=list)
    live: bool = True

    @property
    def base(self) -> int:
        return self.segments[0].base

    def at(self, position: int) -> int:
        """Index of the segment that holds `position`, or that a reader at `position` must go on with."""
        index = 0
        for later, segment in enumerate(self.segments):
            if segment.base <= position:
                index = later
        return index


def split(data: bytes) -> tuple[list[bytes], list[int]]:
    """The whole, sound frames at the front of `data`: the records, and the offset after each.

    The same as `events.spool.records`, as one loop over locals: it runs for every event.
    """
    records: list[bytes] = []
    ends: list[int] = []
    unpack, checksum_of, header, limit = FRAME.unpack_from, zlib.crc32, FRAME.size, len(data)
    start = header
    while start <= limit:
        length, checksum = unpack(data, start - header)
        end = start + length
        if length > MAX_RECORD or end > limit:
            break
        record = data[start:end]
        if checksum_of(record) != checksum:
            break
        records.append(record)
        ends.append(end)
        start = end + header
    return records, ends


class Spools:
    """All spools of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spools: dict[str, _Spool] = {}
        self.corrupt = 0
        """Damaged stretches that were put aside, since this process started."""

    @property
    def ids(self) -> Collection[str]:
        """The spools that the last scan found."""
        return self._spools.keys()

    def scan(self) -> list[str]:
        """Look at the directory again; the ids of all spools that have a segment. Raises OSError, and then knows what it knew."""
        found: dict[str, _Spool] = {}
        for segment in segments(self._directory):
            found.setdefault(segment.spool_id, _Spool()).segments.append(segment)
        for spool_id, spool in found.items():
            known = self._spools.get(spool_id)
            spool.live = known.live if known is not None else True
        self._spools = found
        return list(found)

    def check_live(self, spool_id: str) -> bool:
        """Whether the spool's worker still holds it; once dead, a spool stays dead: an id is never used again. Raises OSError."""
        spool = self._spools[spool_id]
        if spool.live:
            last = spool.segments[-1]
            # Since the scan its worker may have gone on to another segment, and it holds only its last one.
            spool.live = _is_held(last.path) or any(
                each.spool_id == spool_id and each.base > last.base for each in segments(self._directory)
            )
        return spool.live

    def base(self, spool_id: str) -> int:
        """The first offset that can still be read."""
        return self._spools[spool_id].base

    def touched(self, spool_id: str) -> float:
        """Unix time at which its worker last wrote, or said that it cannot; 0 when that cannot be told."""
        spool = self._spools.get(spool_id)
        try:
            return spool.segments[-1].path.stat().st_mtime if spool is not None else 0.0
        except OSError:
            return 0.0

    def end(self, spool_id: str) -> int:
        """The offset after the last byte that is there. Raises OSError."""
        last = self._spools[spool_id].segments[-1]
        return last.base + _size(last.path)

    def read(self, spool_id: str, position: int, limit: int = READ_BYTES) -> Chunk:
        """The sound records from `position` on, at most about `limit` bytes; empty when there is nothing more yet. Raises OSError."""
        spool = self._spools[spool_id]
        position = max(position, spool.base)
        index = spool.at(position)
        while True:
            segment = spool.segments[index]
            data = _read(segment.path, position - segment.base, limit)
            records, ends = split(data)
            if records:
                return Chunk(spool_id, position, position + ends[-1], records, [position + end for end in ends])
            is_last = index == len(spool.segments) - 1
            if data and (not is_last or not spool.live):
                position += self._put_aside(segment, position)
            if is_last:
                return Chunk(spool_id, position, position, [], [])
            index += 1
            position = max(position, spool.segments[index].base)

    def _put_aside(self, segment: Segment, position: int) -> int:
        data = _read(segment.path, position - segment.base, _size(segment.path))
        target = segment.path.with_name(f"{segment.path.name}.{position:016x}.corrupt")
        if target.exists():
            return len(data)
        self.corrupt += 1
        _log.warning("spool %s is damaged at offset %d: %d bytes put aside as %s", segment.spool_id, position, len(data), target.name)
        try:
            target.write_bytes(data)
        except OSError as error:
            _log.warning("the damaged bytes could not be kept: %s", error.strerror)
        return len(data)

    def droppable(self, spool_id: str, position: int) -> Iterator[Segment]:
        """The segments that lie wholly before `position` and that nobody writes any more. Raises OSError."""
        spool = self._spools[spool_id]
        for index, segment in enumerate(spool.segments):
            if index + 1 < len(spool.segments):
                if spool.segments[index + 1].base <= position:
                    yield segment
            elif not spool.live and segment.base + _size(segment.path) <= position:
                yield segment

    def ends(self) -> dict[str, int]:
        """Up to where each spool is written now, as far as that can be told."""
        found = {}
        for spool_id in self._spools:
            with suppress(OSError):
                found[spool_id] = self.end(spool_id)
        return found

    def backlog(self, positions: dict[str, int], until: Mapping[str, int] | None = None) -> int:
        """Bytes that lie beyond `positions`, over all spools whose end can be told; with `until`, earlier `ends`, only those before."""
        return sum(self._beyond(spool_id, positions.get(spool_id, 0), until) for spool_id in self._spools)

    def size(self) -> int:
        """Bytes of disk that all spools take, without files whose size cannot be told."""
        return sum(_size_if_told(segment.path) for spool in self._spools.values() for segment in spool.segments)

    def _beyond(self, spool_id: str, position: int, until: Mapping[str, int] | None) -> int:
        try:
            end = self.end(spool_id) if until is None else until.get(spool_id, 0)
            return max(0, end - max(position, self.base(spool_id)))
        except OSError:
            # Metrics and status are asked for then more than ever.
            return 0


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Young segments are left alone: their writer may be about to lock them.
        if abs(time.time() - os.fstat(fd).st_mtime) < _UNLOCKED_GRACE:
            return True
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _size_if_told(path: Path) -> int:
    try:
        return _size(path)
    except OSError:
        return 0


def _read(path: Path, offset: int, limit: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, limit, offset)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(fd)
