"""A disk that is full, and files and directories that cannot be read."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from unittest import mock

UNLISTABLE = (errno.EACCES, errno.EIO, errno.EMFILE)
"""Why a directory cannot be read that is there."""


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file grows over `room` bytes meanwhile; all can be made, as on a disk with inodes left, which takes in what still fits of a line."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, told)


@contextmanager
def unlistable(reason: int = errno.EMFILE) -> Iterator[None]:
    """No directory can be read meanwhile, however this is asked for."""

    def refuse(path: object = ".") -> NoReturn:
        raise OSError(reason, os.strerror(reason), str(path))

    with mock.patch("os.scandir", refuse), mock.patch("os.listdir", refuse):
        yield


@contextmanager
def unreadable(file: Path, *, sized: bool = False) -> Iterator[None]:
    """`file` cannot be read meanwhile, by root neither; `sized`: it can be opened and still has a size."""
    aside = file.with_name(f"{file.name}.aside")
    file.rename(aside)
    if sized:
        file.mkdir()
    else:
        file.symlink_to(file.name)
    try:
        yield
    finally:
        if sized:
            file.rmdir()
        else:
            file.unlink()
        aside.rename(file)
