"""The data directory: made private, checked to be private, and used by one sidecar at a time."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

LOCK = "lock"
PATIENCE = 5.0
"""Seconds that the store of a sidecar that was killed has to close its files."""


class DataDirError(Exception):
    """The directory cannot be used; the message says what to do."""


def prepare(data_dir: Path) -> None:
    """Make `data_dir` if it is absent; raises DataDirError when it is not a private directory of this user."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fault = fault_of(data_dir)
    except OSError as error:
        advice = "set data_dir to a directory that this user may write"
        raise DataDirError(f"data_dir {data_dir} cannot be made ({error.strerror}); {advice}") from None
    if fault:
        raise DataDirError(fault)


def fault_of(data_dir: Path) -> str:
    """Why `data_dir`, which exists, may not be used by this user, and what to do; empty if it may. Raises OSError."""
    fault = judge(data_dir, data_dir.stat(), os.getuid())
    if not fault and not os.access(data_dir, os.W_OK | os.X_OK):
        return f"data_dir {data_dir} is not writable; mount it writable, or set data_dir elsewhere"
    return fault


def judge(data_dir: Path, found: os.stat_result, uid: int) -> str:
    """Why `data_dir`, whose status is `found`, may not be used by user `uid`; empty if it may."""
    if not stat.S_ISDIR(found.st_mode):
        return f"data_dir {data_dir} is not a directory; set data_dir to one"
    if found.st_uid != uid:
        advice = "run this as that user, or chown it, or name a directory below it that the sidecar makes"
        return f"data_dir {data_dir} belongs to user {found.st_uid}, not to {uid}; {advice}"
    if found.st_mode & 0o077:
        return f"data_dir {data_dir} is open to other users and holds secrets; run: chmod 700 {data_dir}"
    return ""


def in_use(data_dir: Path) -> bool:
    """Whether a sidecar holds `data_dir` at this moment."""
    try:
        with (data_dir / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def lock(data_dir: Path, patience: float = PATIENCE) -> int:
    """Claim `data_dir`; returns a descriptor that holds the claim, also in children that inherit it.

    Two stores on one append-only file would ruin it. Raises DataDirError when another sidecar keeps it, or the file cannot be had.
    """
    try:
        fd = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        advice = "make room on its disk, or give the file back to this user (chown)"
        raise DataDirError(f"{data_dir / LOCK} cannot be opened ({error.strerror}); {advice}") from None
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(fd)
                raise DataDirError(f"data_dir {data_dir} is in use by another sidecar; stop it or set data_dir elsewhere") from None
        time.sleep(0.05)
