"""A small admin API in memory, for the commands' own tests: records calls, answers as a table says."""

from __future__ import annotations

import json
import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "sat_test"


@dataclass
class Call:
    """One call that arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What goes back: a document, or `raw` bytes of `content_type`."""

    document: Any = None
    status: int = 200
    raw: bytes | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Responder = Callable[[Call], Reply]


def refusal(status: int, code: str, message: str) -> Reply:
    """An error in the API's form."""
    return Reply({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}, status)


class FakeAdmin:
    """The table of answers, and what arrived."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.url = ""
        self._answers: list[tuple[str, re.Pattern[str], Responder]] = []

    def on(self, method: str, path: str, answer: Any) -> None:
        """Answer calls whose path below /admin/v1 matches; the newest entry wins. `answer` is a document, a Reply or a function."""
        responder = answer if callable(answer) else (lambda _: answer if isinstance(answer, Reply) else Reply(answer))
        self._answers.insert(0, (method, re.compile(path), responder))

    def answer(self, call: Call) -> Reply:
        self.calls.append(call)
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return refusal(401, "invalid_admin_token", "This admin token is not valid.")
        for method, pattern, responder in self._answers:
            if method == call.method and pattern.fullmatch(call.path.removeprefix("/admin/v1")):
                return responder(call)
        return refusal(404, "not_found", "There is nothing here.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    admin: FakeAdmin

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.admin.answer(Call(self.command, parts.path, query, headers, body))
        data = reply.raw if reply.raw is not None else b"" if reply.document is None else json.dumps(reply.document).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.content_type, "Content-Length": str(len(data)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass

    def address_string(self) -> str:
        return "local"


class _TcpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that turn away in the middle are part of the tests."""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def serving(unix: Path | None = None, tls: ssl.SSLContext | None = None) -> Iterator[FakeAdmin]:
    """A FakeAdmin on a free loopback port, with `tls` if given, or on the unix socket `unix`."""
    admin = FakeAdmin()
    handler = type("Handler", (_Handler,), {"admin": admin})
    server: Any = _UnixServer(str(unix), handler) if unix else _TcpServer(("127.0.0.1", 0), handler)
    admin.url = f"unix://{unix}" if unix else f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield admin
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
