"""A client that speaks TLS by hand: it sends when the test says so, and not before."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

from tests.worker.plane import Plane


def serving_tls(certificate: tuple[Path, Path]) -> dict[str, str]:
    """The settings of a data plane that serves HTTPS."""
    return {"SIDECAR_PROXY__TLS__CERTIFICATE_FILE": str(certificate[0]), "SIDECAR_PROXY__TLS__KEY_FILE": str(certificate[1])}


class SecureClient:
    """One connection to a data plane, and the TLS of its client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, certificate: tuple[Path, Path]) -> None:
        self.reader = reader
        self.writer = writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(certificate[0]))
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    @classmethod
    async def connected(cls, plane: Plane, certificate: tuple[Path, Path]) -> SecureClient:
        """A client that has connected and said nothing."""
        return cls(*await plane.open(), certificate)

    async def do(self, act: str, *what: object, send: bool = True) -> Any:
        """Call the method `act` of `ssl.SSLObject`, with whatever has to go to and fro for it; `send` its last bytes too."""
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                done = getattr(self.tls, act)(*what)
                if send:
                    self.writer.write(self.outgoing.read())
                return done
            self.writer.write(self.outgoing.read())
            if data := await asyncio.wait_for(self.reader.read(65_536), 20):
                self.incoming.write(data)
            else:
                self.incoming.write_eof()

    async def exchange(self, request: bytes) -> bytes:
        """The handshake, `request`, and what comes until the end."""
        await self.do("do_handshake")
        await self.do("write", request)
        answer = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while piece := await self.do("read", 65_536):
                answer += piece
        return answer
