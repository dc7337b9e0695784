"""Remembers across restarts which calls wait for the ledger and which have been added to, so that none is added to twice.

A call is written down before the store can know it, and an addition before it is appended to the spool, with the
place in the spool where it will stand: a process that died in between left a spool that tells whether it stands there.
Once it stands there that is written down too: when the journal is next read, the spool may be long gone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from sidecar.events.record import Request
from sidecar.events.spool import frame, records, segments

LARGE = 8 << 20
"""Bytes beyond which the journal is written anew, without what is over."""

_log = logging.getLogger(__name__)


class Waits(msgspec.Struct, array_like=True, frozen=True, tag="w"):
    """A call that waits for the ledger."""

    call: Request


class Adds(msgspec.Struct, array_like=True, frozen=True, tag="a"):
    """`record` is about to be appended to a spool at `position`."""

    call: Request
    spool_id: str
    position: int
    record: bytes


class Done(msgspec.Struct, array_like=True, frozen=True, tag="d"):
    """Nothing more is to come for a call, which ended at `time`."""

    request_id: str
    time: float


_Entry = Waits | Adds | Done
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Entry).decode


class Journal:
    """One process's journal. `open` it before anything deletes spools; `waiting` and `done` are what it then knows."""

    def __init__(self, path: Path, spools: Path) -> None:
        self._path = path
        self._spools = spools
        self._fd = -1
        self._size = 0
        self._is_torn = False
        """Whether a part of an entry stands behind `_size`."""
        self._owed: list[Done] = []
        """What there was no room to write; it comes before whatever is written next."""
        self.waiting: dict[str, Request] = {}
        self.done: dict[str, float] = {}
        """Request id → when the call ended."""

    @classmethod
    def open(cls, path: Path, spools: Path) -> Journal:
        """Read what an earlier process left at `path`; raises OSError."""
        journal = cls(path, spools)
        sound = 0
        with suppress(FileNotFoundError):
            sound = journal._load(path.read_bytes())
        try:
            journal.compact()
        except OSError as error:
            _log.warning("the journal of reconciliation could not be written anew (%s): the old one stays in use", error.strerror or error)
            journal._go_on(sound)
        return journal

    def wait(self, calls: Iterable[Request]) -> None:
        """Remember calls; raises OSError, and then remembers none."""
        calls = list(calls)
        self._write([Waits(call) for call in calls])
        self.waiting |= {call.request_id: call for call in calls}

    def add(self, call: Request, spool_id: str, position: int, record: bytes) -> None:
        """`record` is going to be appended; call `finish` when it is. Raises OSError: then it must not be."""
        self._write([Adds(call, spool_id, position, record)])

    def finish(self, calls: Iterable[Request], *, noted: bool) -> None:
        """Nothing more is to come for `calls`. Raises OSError, and then they go on waiting, unless they are `noted` by `add`."""
        calls = list(calls)
        done = [Done(call.request_id, call.time) for call in calls]
        if noted:
            # They stand in the spool, and must not be added again. Until there is room the spool tells so as well.
            self._owed += done
            with suppress(OSError):
                self._write([])
        else:
            self._write(done)
        for call in calls:
            self.waiting.pop(call.request_id, None)
            self.done[call.request_id] = call.time

    def expire(self, before: float) -> int:
        """Forget calls that ended before a moment; returns how many of them still waited. Raises OSError."""
        late = [call for call in self.waiting.values() if call.time < before]
        if late:
            # Else they would wait, and be given up, again after each restart.
            self._write([Done(call.request_id, call.time) for call in late])
        for call in late:
            del self.waiting[call.request_id]
        for request_id in [request_id for request_id, time in self.done.items() if time < before]:
            del self.done[request_id]
        if self._size > LARGE:
            self.compact()
        return len(late)

    def compact(self) -> None:
        """Write anew what is still of interest; raises OSError."""
        known: list[_Entry] = [Done(request_id, time) for request_id, time in self.done.items()]
        known += [Waits(call) for call in self.waiting.values()]
        data = b"".join(frame(_encode(entry)) for entry in known)
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, data) != len(data):
                raise OSError("short write")
            os.replace(fresh, self._path)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                # On a full disk it would keep room from everybody.
                fresh.unlink()
            raise
        self.close()
        self._fd, self._size, self._is_torn = fd, len(data), False
        self._owed.clear()

    def close(self) -> None:
        """Let go of the file; nothing is buffered here."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _go_on(self, size: int) -> None:
        """Append to the file as it is, behind its first `size` bytes; raises OSError."""
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        # Nobody reads on behind a torn frame.
        os.ftruncate(self._fd, size)
        self._size = size

    def _write(self, entries: Sequence[_Entry]) -> None:
        if self._is_torn:
            self._take_back()
        data = b"".join(frame(_encode(entry)) for entry in (*self._owed, *entries))
        written = os.write(self._fd, data)
        if written != len(data):
            self._is_torn = True
            self._take_back()
            raise OSError("short write")
        self._size += written
        self._owed.clear()

    def _take_back(self) -> None:
        """Raises OSError: a disk that is full may have no room even for that. It is tried again before anything is written."""
        os.ftruncate(self._fd, self._size)
        self._is_torn = False

    def _load(self, data: bytes) -> int:
        """Take in what can be read; returns the offset behind it."""
        spooled, sound = _Spooled(self._spools), 0
        told: list[str] = []
        for end, record in records(data):
            sound = end
            try:
                entry = _decode(record)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # another version's
            if isinstance(entry, Done):
                self.waiting.pop(entry.request_id, None)
                self.done[entry.request_id] = entry.time
            elif isinstance(entry, Waits) or not spooled.has(entry):
                self.done.pop(entry.call.request_id, None)
                self.waiting[entry.call.request_id] = entry.call
            else:
                self.waiting.pop(entry.call.request_id, None)
                self.done[entry.call.request_id] = entry.call.time
                told.append(entry.call.request_id)
        # Only the spool says so yet, and from now on that may go.
        self._owed = [Done(request_id, self.done[request_id]) for request_id in told if request_id in self.done]
        return sound


class _Spooled:
    """What stands in the spools of a process that is dead: whether it also appended what it said it would.

    The last segment of its spool is there if it ever was: only now may somebody delete it. Earlier segments
    may be gone, and then what they held was appended.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records: dict[str, dict[int, bytes]] = {}
        self._bases: dict[str, int] = {}

    def has(self, entry: Adds) -> bool:
        """Whether the record of `entry` stands where it should."""
        if entry.spool_id not in self._records:
            self._read(entry.spool_id)
        if entry.position < self._bases[entry.spool_id]:
            return True
        return self._records[entry.spool_id].get(entry.position) == entry.record

    def _read(self, spool_id: str) -> None:
        mine = [segment for segment in segments(self._directory) if segment.spool_id == spool_id]
        self._bases[spool_id] = mine[0].base if mine else 0
        found = self._records[spool_id] = {}
        for segment in mine:
            position = segment.base
            for end, record in records(segment.path.read_bytes()):
                found[position] = record
                position = segment.base + end
