"""A data plane without sockets and without a store: bytes in, bytes out, the same work at every run.

Everything between the transports is the real thing: parser, cache and digest, line, rewriting, pool,
usage reading, event, spool file. So the work of a request can be counted instead of timed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks.load.request import Request
from benchmarks.load.wire import raw_request
from sidecar.events.spool import SpoolWriter
from sidecar.hubs.load import load_profile
from sidecar.keys.cache import Answer, KeyCache
from sidecar.keys.digest import Digester, Pepper
from sidecar.keys.issue import new_secret
from sidecar.keys.lookup import Lookup
from sidecar.keys.reader import Found
from sidecar.keys.record import Key
from sidecar.keys.token import generate
from sidecar.limits.decision import Admission
from sidecar.settings.load import load
from sidecar.worker.plane import DataPlane

MOST_TURNS = 1000
FIELDS = ("Accept-Encoding: gzip, deflate", "Connection: keep-alive")
ASKED = {
    "accept-encoding": "gzip, deflate",
    "x-forwarded-proto": "http",
    "x-forwarded-for": "192.0.2.7",
    "x-envoy-internal": "true",
    "x-envoy-expected-rq-timeout-ms": "2000",
}
"""What Envoy adds to the client's fields."""


class Wire(asyncio.Transport):
    """A transport that hands what is written to a function."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        super().__init__()
        self._written = written
        self._closed = False
        self.writes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes += 1
        self._written(bytes(data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 40000) if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def abort(self) -> None:
        self._closed = True

    def pause_reading(self) -> None:
        """Nobody sends more than is asked for."""

    def resume_reading(self) -> None:
        """Nobody sends more than is asked for."""


class Loop(uvloop.Loop):
    """The real loop, but whoever connects gets a wire to `hub`."""

    hub: Wire
    hub_protocol: asyncio.Protocol

    async def create_connection(  # type: ignore[override]  # only what the pool asks for
        self, factory: Callable[[], asyncio.Protocol], *_: object, **__: object
    ) -> Any:
        """As in asyncio, without a network."""
        self.hub_protocol = factory()
        self.hub = Wire(lambda _: None)
        self.hub_protocol.connection_made(self.hub)
        return self.hub, self.hub_protocol


class Trusted:
    """A lease that always holds."""

    def fresh(self) -> bool:
        """Yes."""
        return True

    def age(self) -> float:
        """None at all."""
        return 0.0


class NoStore:
    """Knows nobody."""

    async def find_first(self, _digests: list[str], *, prove: bool) -> Found | None:
        """As the store's reader, of an empty store."""
        return None

    async def get(self, _key_id: str, *, prove: bool) -> Key | None:
        """As the store's reader, of an empty store."""
        return None


class Unlimited:
    """Admits everything: the limiter's work is the store's."""

    async def admit(self, key: Key, _request_id: str, _tokens: int) -> Admission:
        """Yes."""
        return Admission(key_id=key.id)

    def release(self, _admission: Admission, _tokens: int | None) -> None:
        """Nothing was taken."""


class Plane:
    """One client, one hub, the data plane between them; with `AuthzPlane` one proxy that asks."""

    def __init__(self, loop: Loop, directory: Path, made_of: type[DataPlane] = DataPlane, profile: str = "aigne") -> None:
        settings = load(None, {"SIDECAR_HUB__ACCESS_KEY": "benchmark-hub-key", "SIDECAR_DATA_DIR": str(directory)})
        digester = Digester("ahk", Pepper.of(b"p" * 32), None, False)
        cache = KeyCache(1000)
        lookup = Lookup(cast(Any, NoStore()), cache, cast(Any, Trusted()), digester)
        self._spool = SpoolWriter(directory, segment_bytes=1 << 30, max_bytes=1 << 31)
        self._loop = loop
        self._answer = bytearray()
        self.plane = made_of(
            settings, load_profile(profile), lookup, Unlimited(), self._spool, loop, instance="driven", accepted=lambda *_: None
        )
        self.key = self._issue(cache, digester)
        self.revoked_key = self._issue(cache, digester, revoked_at=1.0)
        self._client = self.plane.connection()
        self.client = Wire(self._answer.extend)
        self._client.connection_made(self.client)

    def request(self, request: Request) -> bytes:
        """The bytes of `request` as a client library sends them."""
        head, blank, body = raw_request(request, request.keys[0], "gateway.example").partition(b"\r\n\r\n")
        return head + "".join(f"\r\n{field}" for field in FIELDS).encode() + blank + body

    def question(self, request: Request) -> bytes:
        """What Envoy asks about `request`, as deploy/envoy sets it up."""
        fields = {name.lower(): value for name, value in request.headers(request.keys[0]).items()}
        lines = [f"{request.method} /envoy{request.target} HTTP/1.1", "host: gateway.example", "content-length: 0"]
        lines += [f"{name}: {value}" for name, value in (fields | ASKED).items()]
        return "\r\n".join([*lines, "", ""]).encode()

    async def refuse(self, request: bytes) -> bytes:
        """An exchange that the hub never sees."""
        self._client.data_received(request)
        await _turns(lambda: bool(self._answer))
        return self._taken()

    async def exchange(self, request: bytes, *answer: bytes) -> bytes:
        """One exchange, whose answer comes from the hub in these pieces."""
        sent = self._writes_to_hub()
        self._client.data_received(request)
        await _turns(lambda: self._writes_to_hub() > sent)
        for piece in answer:
            seen = len(self._answer)
            self._loop.hub_protocol.data_received(piece)
            await _turns(lambda: len(self._answer) > seen)  # noqa: B023  # asked at once
        # Whatever the line does behind its last byte belongs to the request too.
        await _turns(lambda: not self.plane.front.requests)
        return self._taken()

    def writes(self) -> int:
        """How often anything was written, to the hub and to the client."""
        return self.client.writes + self._writes_to_hub()

    def close(self) -> None:
        """Let go of the spool."""
        self._spool.close()

    def _writes_to_hub(self) -> int:
        hub: Wire | None = getattr(self._loop, "hub", None)
        return hub.writes if hub is not None else 0

    def _taken(self) -> bytes:
        answer = bytes(self._answer)
        self._answer.clear()
        return answer

    def _issue(self, cache: KeyCache, digester: Digester, **fields: Any) -> str:
        token = generate("ahk")
        secret = new_secret(token, digester, 0.0)
        found: Answer = Found(Key(f"key_{secret.id[4:]}", "benchmark", 0.0, secrets=(secret,), **fields), secret)
        assert isinstance(found, Found)
        cache.put(secret.digest, found, cache.generation)
        return token


async def _turns(condition: Callable[[], bool]) -> None:
    """Give the loop as many turns as it takes until `condition` holds. Raises RuntimeError when it never does."""
    for _ in range(MOST_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise RuntimeError("the data plane does not go on")
