"""No proxy at all: what the hub and the load take by themselves."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.peers.peer import Peer, Site


class Direct(Peer):
    """The hub, spoken to directly."""

    name: ClassVar[str] = "direct"
    title: ClassVar[str] = "the hub itself"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.port = site.hub_port

    def launch(self) -> None:
        """Nothing to start."""

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
