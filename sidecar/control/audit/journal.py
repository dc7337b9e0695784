"""What keeps an act from going unrecorded: one small file for each act whose record is not yet safe.

The file is written before the act and removed when the store has the record durably, so whatever
dies in between, the next start finds the file and completes the log.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from pathlib import Path

import msgspec

from sidecar.control.audit.event import Event, canonical

JOURNAL_DIRECTORY = "audit-journal"
"""Its name in data_dir."""

_SUFFIX = ".event"
_UNFINISHED = ".new"
_HEAD = "head"


class Unrecordable(OSError):
    """The journal cannot be written, so that the act was not begun; `strerror` says why."""


class Journal:
    """The files in `directory`; private, created when absent."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def tidy(self) -> None:
        """Remove what a process that died left half written; for the one that writes here, before it does. Raises OSError."""
        for name in self._names(_UNFINISHED):
            (self._directory / name).unlink(missing_ok=True)

    def write(self, event: Event) -> None:
        """Keep `event`, or a later state of it; it is the kernel's when this returns. Raises OSError."""
        self._put(self._path(event.id), canonical(event))

    def drop(self, event_id: str) -> None:
        """Forget an event: nothing happened, or the store has it."""
        self._path(event_id).unlink(missing_ok=True)

    def ids(self) -> set[str]:
        """Of every kept event, readable or not. Raises OSError when the directory cannot be read."""
        return {name.removesuffix(_SUFFIX) for name in self._names(_SUFFIX)}

    def pending(self, only: Collection[str] | None = None) -> list[Event]:
        """Every kept event, or of these ids only, oldest first; a file that cannot be read is left alone for a human to look at.

        Raises OSError when the directory cannot be read.
        """
        found: list[Event] = []
        for event_id in self.ids() if only is None else only:
            try:
                found.append(msgspec.json.decode(self._path(event_id).read_bytes(), type=Event))
            except (OSError, msgspec.DecodeError, UnicodeDecodeError):
                continue
        return sorted(found, key=lambda event: event.time)

    def remember(self, sequence: int, hash_: str) -> None:
        """Note the head of the log, so that a log that was cut short or rewritten can be told. Raises OSError."""
        self._put(self._directory / _HEAD, msgspec.json.encode((sequence, hash_)))

    def remembered(self) -> tuple[int, str]:
        """The head last noted; (0, "") when none was."""
        try:
            return msgspec.json.decode((self._directory / _HEAD).read_bytes(), type=tuple[int, str])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return 0, ""

    def forget_head(self) -> None:
        """Expect nothing of the log any more: it is another one now. Raises OSError."""
        (self._directory / _HEAD).unlink(missing_ok=True)

    def _names(self, suffix: str) -> list[str]:
        # Not by Path.glob, which finds nothing where it cannot look: what is kept would be taken for safely recorded.
        try:
            with os.scandir(self._directory) as entries:
                return [entry.name for entry in entries if entry.name.endswith(suffix)]
        except FileNotFoundError:
            return []

    def _put(self, path: Path, data: bytes) -> None:
        fresh = path.with_suffix(_UNFINISHED)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            try:
                if os.write(fd, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(fd)
            fresh.replace(path)
        except OSError:
            # A full disk still makes empty files, and each event has a name of its own.
            fresh.unlink(missing_ok=True)
            raise

    def _path(self, event_id: str) -> Path:
        return self._directory / f"{event_id}{_SUFFIX}"
