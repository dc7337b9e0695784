"""The connections on which a proxy asks."""

from __future__ import annotations

import asyncio

from tests.worker.authz.conftest import Site


async def test_an_old_proxy_is_told_that_the_answer_is_the_last(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET /envoy/api/v2/status HTTP/1.0\r\nConnection: keep-alive\r\nAuthorization: Bearer {site.key}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(-1), 10)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close\r\n" in answer
    writer.close()
