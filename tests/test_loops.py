"""A test that fails with connections open ends, and what it left is told."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.loops import product


def test_a_loop_on_which_something_was_left_open_ends_and_tells() -> None:
    loop = product()
    kept: list[object] = []

    async def leave_open() -> None:
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        kept.append(await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname()))

    loop.run_until_complete(leave_open())
    with pytest.raises(ResourceWarning, match="unclosed"):
        loop.close()
    assert loop.is_closed()
