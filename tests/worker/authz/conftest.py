"""An authorizer in the test's own loop: real sockets, keys in a dict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidecar.hubs.load import load_profile
from sidecar.settings.load import load
from sidecar.worker.authz.plane import AuthzPlane
from tests.worker.plane import Events, Keys, Unlimited


class Asked:
    """An answer to a question, taken apart."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        self.status = int(line.split(" ")[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}


class Site:
    """A running authorizer."""

    def __init__(self, keys: Keys, events: Events, limiter: Unlimited, plane: AuthzPlane, port: int) -> None:
        self.keys = keys
        self.events = events
        self.limiter = limiter
        self.plane = plane
        self.port = port
        self.path: Path | None = None
        """Its socket, where it listens at one."""
        self.key = keys.issue()

    async def ask(self, target: str, *, method: str = "GET", key: str | None = None, body: bytes = b"", **fields: str) -> Asked:
        """One question; field names have `_` for `-`."""
        if self.path is not None:
            reader, writer = await asyncio.open_unix_connection(self.path)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        sent = {"Host": "gw.test", "Connection": "close", **{name.replace("_", "-"): value for name, value in fields.items()}}
        if key != "":
            sent["Authorization"] = f"Bearer {key or self.key}"
        if body:
            sent |= {"Content-Length": str(len(body)), "Content-Type": "application/json"}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        try:
            return Asked(await asyncio.wait_for(reader.read(-1), 10))
        finally:
            writer.transport.abort()


@pytest.fixture
def environment() -> dict[str, str]:
    """Settings of the authorizer."""
    return {}


@pytest.fixture
def clock() -> Callable[[], float]:
    """What durations are measured with."""
    return time.monotonic


@pytest.fixture
async def site(environment: dict[str, str], clock: Callable[[], float]) -> AsyncIterator[Site]:
    keys, events, limiter = Keys(), Events(), Unlimited()
    settings = load(None, {"SIDECAR_HUB__ACCESS_KEY": "hub-key", "SIDECAR_HUB__URL": "http://127.0.0.1:1/mount"} | environment)
    loop = asyncio.get_running_loop()
    plane = AuthzPlane(
        settings,
        load_profile(settings.hub.profile),
        keys,
        limiter,
        events,
        loop,
        instance="test",
        accepted=lambda found, token: None,
        clock=clock,
    )
    await plane.start()
    server = await loop.create_server(plane.connection, "127.0.0.1", 0)
    try:
        yield Site(keys, events, limiter, plane, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await plane.drain(0.05)
