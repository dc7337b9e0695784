"""Children and sockets that exist on paper only, with a clock of our own, for the books of the supervisor."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from sidecar.settings import load
from sidecar.settings.values import Listen
from sidecar.supervisor.children import Children, Slot
from sidecar.supervisor.control_sockets import ControlSockets
from sidecar.supervisor.sockets import WorkerSockets


@dataclass
class Paper:
    """A child on paper."""

    pid: int
    role: str
    started: float
    ready: bool = False
    ready_fd: int = -1
    listen_fd: int | None = None
    fds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    signals: list[int] = field(default_factory=list)

    def hear(self) -> None:
        self.ready = True

    def send(self, number: int) -> None:
        self.signals.append(number)

    def gone(self) -> None:
        self.pid = 0


class PaperSocket:
    """A socket on paper."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        self._number = -1


class World:
    """Children, a clock, and what was started."""

    def __init__(self, **environment: str) -> None:
        self.now = 100.0
        self.started: list[Paper] = []
        self.refuse = False
        self.refuse_sockets = False
        self.sockets = 0
        self.control_sockets: dict[Listen, socket.socket] = {}
        """Where the control process may listen: the sockets that were made last."""
        self.children = Children(
            load(None, environment),
            self.launch,
            lambda: self.now,
            {},
            WorkerSockets(make=self.make_socket),
            ControlSockets(make=self.make_control_sockets),
        )

    def make_socket(self, listen: Listen) -> socket.socket:
        if self.refuse_sockets:
            raise OSError(98, "Address already in use")
        self.sockets += 1
        return cast(socket.socket, PaperSocket(1000 + self.sockets))

    def make_control_sockets(self, listen: Listen) -> list[socket.socket]:
        if self.refuse_sockets:
            raise OSError(98, "Address already in use")
        self.control_sockets[listen] = cast(socket.socket, PaperSocket(2000 + len(self.control_sockets)))
        return [self.control_sockets[listen]]

    def listeners(self) -> list[int | None]:
        """What the running workers accept from."""
        return [paper.listen_fd for paper in self.started if paper.role == "worker" and paper.pid]

    def listeners_of(self, slot: Slot) -> list[int]:
        """What the worker of `slot` accepts from."""
        return [listener.fileno() for listener in slot.listeners]

    def launch(self, role: str, index: int, settings: bytes, fds: Mapping[str, Sequence[int]]) -> Paper:
        if self.refuse:
            raise OSError(11, "Resource temporarily unavailable")
        self.started.append(Paper(len(self.started) + 1, role, self.now, listen_fd=next(iter(fds.get("listen", ())), None), fds=fds))
        return self.started[-1]

    def roles(self) -> list[str]:
        return [paper.role for paper in self.started]

    def last(self, role: str) -> Paper:
        return next(paper for paper in reversed(self.started) if paper.role == role)

    def end(self, paper: Paper, code: int = -9) -> None:
        self.children.ended(paper.pid, code)

    def serve(self) -> None:
        """Everything runs and is ready."""
        self.children.start_due()
        self.last("control").ready = True
        self.children.start_due()
        for paper in self.started:
            paper.ready = True
