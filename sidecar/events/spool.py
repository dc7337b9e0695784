"""The spool: append-only files that carry events from one worker to the control process.

A frame is a little-endian length and CRC-32, then the record. A spool has a random id, made at each
start of its worker, so that an old file is never appended to; its segments are named by the offset
of their first byte in the whole spool. A position is such an offset: it grows for ever and names one
byte for all time, which is what lets the ledger apply every record exactly once.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FRAME = struct.Struct("<II")
MAX_RECORD = 1 << 20
"""Bytes of one record; a frame that says more is damage."""
RETRY_SECONDS = 1.0
"""Between two attempts to begin a segment: looking for room costs a stat of every file, too much for each request."""

_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.spool")


@dataclass(frozen=True, slots=True)
class Segment:
    """One spool file: `base` is the offset of its first byte in spool `spool_id`."""

    path: Path
    spool_id: str
    base: int

    @classmethod
    def of(cls, path: Path) -> Segment | None:
        """Read the name `<spool id>-<base>.spool`, both 16 hex digits; None when no writer gives such a name."""
        # Not by int() alone, which takes signs, blanks and underscores.
        named = _NAME.fullmatch(path.name)
        return cls(path, named[1], int(named[2], 16)) if named is not None else None


def segments(directory: Path) -> list[Segment]:
    """Every segment in `directory`, by spool and then by offset; none where there is no directory.

    What else lies there, a copy of one perhaps, is left alone. Raises OSError when the directory cannot be read.
    """
    try:
        # Not by Path.glob, which finds nothing where it cannot look: all spools would be taken for gone.
        with os.scandir(directory) as entries:
            found = [segment for entry in entries if (segment := Segment.of(directory / entry.name)) is not None]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda segment: (segment.spool_id, segment.base))


def frame(record: bytes) -> bytes:
    """`record` with its length and checksum before it."""
    return FRAME.pack(len(record), zlib.crc32(record)) + record


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield `(offset after the record, record)` for each whole, sound frame at the front of `data`.

    Stops in front of a frame that is cut short or damaged: what follows cannot be trusted.
    """
    view = memoryview(data)
    end, offset = len(view), 0
    while offset + FRAME.size <= end:
        length, checksum = FRAME.unpack_from(view, offset)
        start = offset + FRAME.size
        if length > MAX_RECORD or start + length > end:
            return
        record = bytes(view[start : start + length])
        if zlib.crc32(record) != checksum:
            return
        offset = start + length
        yield offset, record


class SpoolWriter:
    """Appends records; a record is in the kernel's hands, safe from the death of this process, when `append` returns.

    `max_bytes` is for all spools of the directory, `writers` of them at a time.
    """

    def __init__(
        self, directory: Path, *, segment_bytes: int, max_bytes: int, writers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        # Each writer's last segment stays even when all in it was read: together they must leave room for the next ones.
        self._segment_bytes = min(segment_bytes, max_bytes // (2 * writers))
        self._others = (writers - 1) * self._segment_bytes
        self._max_bytes = max_bytes
        self.spool_id = secrets.token_hex(8)
        self.dropped = 0
        self.position = 0
        self._base = 0
        self._segment_end = 0
        self._torn_end = 0
        """In place of `_segment_end` while the segment ends in a part of a frame; 0 while it does not."""
        self._fd = -1
        self._clock = clock
        self._retry_at = float("-inf")

    def append(self, record: bytes) -> bool:
        """Write one record; False, and counted in `dropped`, when the disk or a bound does not allow it."""
        data = frame(record)
        try:
            if len(record) > MAX_RECORD:
                # To every reader that is damage, and all behind it in the segment would be lost with it.
                raise OSError("the record is too large")
            if self._fd < 0 or self.position >= self._segment_end:
                self._begin_segment()
            written = os.write(self._fd, data)
            if written != len(data):
                self._torn_end, self._segment_end = self._segment_end, 0
                self._take_back()
                raise OSError("short write")
        except OSError:
            self.dropped += 1
            return False
        self.position += written
        return True

    def _begin_segment(self) -> None:
        now = self._clock()
        if now < self._retry_at:
            raise OSError("a segment could not be begun a moment ago")
        self._retry_at = now + RETRY_SECONDS
        if self._torn_end:
            self._take_back()
        if self._fd < 0 or self.position >= self._segment_end:
            self._roll()
        self._retry_at = float("-inf")

    def _take_back(self) -> None:
        """Remove the part of a frame that the segment ends in: for every reader it would end there, whatever follows.

        Raises OSError: a disk that is full may have no room even for that. It is tried again before anything is written.
        """
        os.ftruncate(self._fd, self.position - self._base)
        self._segment_end, self._torn_end = self._torn_end, 0

    def _roll(self) -> None:
        # What cannot be looked at may be full: that raises, and nothing is begun.
        with os.scandir(self._directory) as entries:
            taken = sum([_size(entry) for entry in entries if entry.name.endswith(".spool")])
        # The other writers may fill the segments that they have begun.
        room = self._max_bytes - self._others - taken
        # The last record of a segment may reach beyond its end, so what is left is seldom a whole segment.
        if room < self._segment_bytes // 2:
            raise OSError("the spool has reached spool.max_bytes")
        path = self._directory / f"{self.spool_id}-{self.position:016x}.spool"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        # The kernel lets go of the lock when this process dies, however it dies: so a reader knows that a spool is finished.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError:
            # It is tried again every second: a file system without room for locks must not take the descriptors that clients need.
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._base = fd, self.position
        self._segment_end = self.position + min(self._segment_bytes, room)

    def touch(self) -> None:
        """Say that the writer lives where no record fits: by the time of its segment, for which a full disk has room."""
        if self._fd >= 0:
            with suppress(OSError):
                os.utime(self._fd)

    def close(self) -> None:
        """Let go of the file; nothing is buffered here."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        # The control process deletes what it has read: that makes room, and is no reason to drop events for a second.
        return 0
