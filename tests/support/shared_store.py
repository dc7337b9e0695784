"""A server that tests share: to start one for each of a thousand tests took longer than most of them."""

from __future__ import annotations

from pathlib import Path

from tests.support.store import Server

LASTING = (b"config|set", b"acl|", b"debug", b"client|pause", b"replicaof", b"function|")
"""Commands of which something is left when all data is gone."""


class SharedServer:
    """One valkey-server, append-only file on; each test finds it as if it had just been started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started = 0
        self._server: Server | None = None

    def emptied(self) -> Server:
        """The server without what the last test left; another one if that was more than data."""
        if self._server is None or not self._is_clean(self._server):
            self.close()
            self._started += 1
            self._server = Server(self._directory / f"{self._started}")
            self._server.start()
        return self._server

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @staticmethod
    def _is_clean(server: Server) -> bool:
        told = server.command("INFO", "commandstats")
        if not told.endswith(b"\r\n") or any(b"cmdstat_" + command in told for command in LASTING):
            return False
        forgotten = [server.command(*words) for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("CONFIG", "RESETSTAT"))]
        return forgotten == [b"+OK\r\n"] * 3
