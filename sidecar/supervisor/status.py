"""`<data_dir>/supervisor.json`: what the supervisor knows, for `sidecar doctor` and people."""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE = "supervisor.json"


class Reload(msgspec.Struct, frozen=True):
    """The last SIGHUP: Unix time of its end, and why it changed nothing (empty: it was taken over)."""

    time: float
    faults: list[str] = []


class Child(msgspec.Struct, frozen=True):
    """One child; `restarts` counts its unasked ends."""

    role: str
    index: int
    pid: int | None
    ready: bool
    restarts: int


class Status(msgspec.Struct, frozen=True):
    """The whole file. `generation` grows by one with each reload that was taken over."""

    pid: int
    started: float
    generation: int
    stopping: bool
    children: list[Child]
    last_reload: Reload | None = None


def write(data_dir: Path, status: Status) -> str:
    """Replace the file; why that cannot be done, as on a full disk, else nothing."""
    path = data_dir / FILE
    draft = path.with_suffix(".tmp")
    try:
        draft.write_bytes(msgspec.json.encode(status))
        draft.replace(path)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def read(data_dir: Path) -> Status | None:
    """The file of a sidecar that runs or has run; None when there is none to be read."""
    try:
        return msgspec.json.decode((data_dir / FILE).read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError):
        return None
