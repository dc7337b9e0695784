"""A hub on the wire: it answers what it is told to, word for word, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class ScriptedHub:
    """Serves requests whose bodies have a Content-Length."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.answer = PLAIN
        self.heads: list[str] = []
        self.idle: list[float] = []
        """How long each connection that the proxy closed had been idle, in seconds."""
        self._listener = listener

    def clear(self) -> None:
        """Answer plainly again, and forget."""
        self.answer = PLAIN
        self.heads.clear()
        self.idle.clear()

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields of the one request that came, names in lower case."""
        (head,) = self.heads
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])]

    def accept(self) -> None:
        """Serve until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            while True:
                idle = time.monotonic()
                head, _, body = read_until(connection, b"", b"\r\n\r\n").partition(b"\r\n\r\n")
                if not head:
                    self.idle.append(time.monotonic() - idle)
                    return
                self.heads.append(head.decode("latin-1"))
                missing = length_of(head) - len(body)
                while missing > 0 and (piece := connection.recv(65536)):
                    missing -= len(piece)
                connection.sendall(self.answer)


def read_until(connection: socket.socket, data: bytes, end: bytes) -> bytes:
    """`data` and what comes, up to where `end` is in it or the other side closes."""
    while end not in data and (piece := connection.recv(65536)):
        data += piece
    return data


def length_of(head: bytes) -> int:
    """What Content-Length says; 0 without one."""
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name.lower() == b"content-length"), 0)


def say(port: int, *lines: str, body: bytes = b"", within: float = 30) -> bytes:
    """The answer to a head that is these lines, with no more of its body than `body`, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=within) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        answer = read_until(connection, b"", b"\r\n\r\n")
        head, _, content = answer.partition(b"\r\n\r\n")
        while len(content) < length_of(head) and (piece := connection.recv(65536)):
            content += piece
        return head + b"\r\n\r\n" + content


@contextlib.contextmanager
def scripted_hub() -> Iterator[ScriptedHub]:
    """One that serves in threads of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hub = ScriptedHub(listener)
        threading.Thread(target=hub.accept, daemon=True).start()
        yield hub
        # Else the thread would wait in accept for ever.
        listener.shutdown(socket.SHUT_RDWR)
