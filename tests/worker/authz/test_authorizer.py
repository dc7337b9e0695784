"""The connections on which a proxy asks."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.keys import Clock
from tests.worker.authz.conftest import Site
from tests.worker.plane import until


async def test_an_old_proxy_is_told_that_the_answer_is_the_last(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET /envoy/api/v2/status HTTP/1.0\r\nConnection: keep-alive\r\nAuthorization: Bearer {site.key}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(-1), 10)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close\r\n" in answer
    writer.close()


async def test_a_probe_that_asks_for_a_head_gets_no_body_behind_it(site: Site) -> None:
    """Whoever sent it would take that for the answer to its next question."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    writer.write(f"GET /envoy/api/v2/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {site.key}\r\nConnection: close\r\n\r\n".encode())
    assert (await asyncio.wait_for(reader.read(-1), 10)).startswith(b"HTTP/1.1 200 ")
    writer.close()


class TestOfTime:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock(1000.0)

    async def test_a_body_that_is_shown_late_is_waited_for_and_no_work(self, site: Site, clock: Clock) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        lines = (
            "POST /envoy/api/v2/chat HTTP/1.1", "Host: gw.test", "Connection: close", f"Authorization: Bearer {site.key}", "Content-Length: 2",
        )  # fmt: skip
        writer.write("\r\n".join([*lines, "", "{"]).encode())
        await until(lambda: site.plane.front.requests)
        clock.now += 5.0
        writer.write(b"}")
        assert (await asyncio.wait_for(reader.read(-1), 10)).startswith(b"HTTP/1.1 200 ")
        writer.close()
        (event,) = site.events.requests
        assert (event.queue, event.auth, event.total) == (5.0, 0.0, 5.0)
