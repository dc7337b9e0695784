"""Files with a secret that is made once: private, whole or absent, and the same for all who start together."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def make_once(path: Path, content: Callable[[], str]) -> None:
    """Make `path` (mode 0600) with `content()` unless there is one; raises OSError."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    write_private(scratch, content())
    try:
        # A link never replaces: the first process wins, the others read what it wrote.
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


def read_or_make(path: Path, content: Callable[[], str]) -> str:
    """What `path` holds, without blanks around it; made with `content()` where there is nothing, as after a full disk. Raises OSError."""
    with suppress(FileNotFoundError):
        if found := path.read_text(encoding="ascii").strip():
            return found
    made = content()
    replace_private(path, made + "\n")
    return made


def replace_private(path: Path, content: str | bytes) -> None:
    """Put `content` in the place of what `path` (mode 0600) held: readers see the old or the new, whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    write_private(scratch, content)
    scratch.replace(path)


def write_private(path: Path, content: str | bytes) -> None:
    """Write a new file (mode 0600) and wait for the disk. When that fails, there is none."""
    data = content.encode("ascii") if isinstance(content, str) else content
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        # Each try would leave another one on a disk that is full.
        path.unlink(missing_ok=True)
        raise
