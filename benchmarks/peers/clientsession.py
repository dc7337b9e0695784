"""The reference: the proxy that a careful Python programmer writes with aiohttp's server and its `ClientSession`.

Keys are in Redis and cached for a second, hop-by-hop headers go no further, small messages move whole and
large ones as streams, cookies and redirects are left alone. `python -m benchmarks.peers.clientsession` runs it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from typing import ClassVar

import aiohttp
import redis.asyncio
import uvloop
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from benchmarks.peers.keystore import KeyStore, digest_name
from benchmarks.peers.peer import HUB_KEY, Peer, Site

HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "host")
)
CACHED_FOR = 1.0
SMALL = 64 << 10


class Keys:
    """Known keys, asked from Redis once a second at most."""

    def __init__(self, socket: str) -> None:
        self._redis = redis.asyncio.Redis(unix_socket_path=socket)
        self._known: dict[str, tuple[float, bool]] = {}

    async def accept(self, key: str) -> bool:
        """Whether `key` opens the hub."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        known = self._known.get(digest)
        now = time.monotonic()
        if known is not None and known[0] > now:
            return known[1]
        accepted = bool(await self._redis.exists(digest_name(digest)))
        self._known[digest] = (now + CACHED_FOR, accepted)
        return accepted


class Proxy:
    """Forwards to the hub whatever comes with a known key."""

    def __init__(self, hub: str, keys: Keys) -> None:
        self._hub = hub
        self._keys = keys
        self._session: aiohttp.ClientSession | None = None

    async def open(self, _: web.Application) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=300),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def close(self, _: web.Application) -> None:
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not await self._keys.accept(key):
            return web.json_response({"error": {"message": "unknown key"}}, status=401)
        assert self._session is not None
        headers = _end_to_end(request.headers)
        headers["Authorization"] = f"Bearer {HUB_KEY}"
        body: bytes | aiohttp.StreamReader | None = None
        if request.body_exists:
            body = await request.read() if (request.content_length or SMALL) < SMALL else request.content
        target = URL(self._hub + request.raw_path, encoded=True)
        async with self._session.request(request.method, target, headers=headers, data=body, allow_redirects=False) as answer:
            if answer.content_length is not None and answer.content_length < SMALL:
                return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=await answer.read())
            return await _stream(request, answer)


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    dropped = HOP_BY_HOP
    if "Connection" in headers:
        dropped |= {name.strip().lower() for name in headers["Connection"].split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


async def _serve(port: int, hub: str, socket: str) -> None:
    proxy = Proxy(hub, Keys(socket))
    application = web.Application(client_max_size=1 << 30)
    application.on_startup.append(proxy.open)
    application.on_cleanup.append(proxy.close)
    application.router.add_route("*", "/{path:.*}", proxy.handle)
    await web._run_app(application, host="127.0.0.1", port=port, access_log=None, print=lambda *_: None)


class ClientSession(Peer):
    """That program with a Redis beside it."""

    name: ClassVar[str] = "clientsession"
    title: ClassVar[str] = "aiohttp ClientSession proxy"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._store = KeyStore(self.processes, self.directory)

    def launch(self) -> None:
        self._store.start(self.key)
        command = [sys.executable, "-m", "benchmarks.peers.clientsession"]
        self.processes.start("proxy", [*command, str(self.port), f"http://{self.hub}", str(self._store.socket)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.clientsession", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("hub", help="http://host:port")
    parser.add_argument("socket", help="of the Redis that has the keys")
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.hub, given.socket))


if __name__ == "__main__":
    main()
