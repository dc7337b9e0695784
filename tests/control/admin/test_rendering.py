"""Which form an answer has, and how an export ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from sidecar.control.admin.dispatch import as_json
from sidecar.control.admin.endpoint import Answer, Media
from sidecar.control.admin.rendering import WHOLE, negotiate, respond
from sidecar.control.listeners.serving import serve
from sidecar.settings.values import Listen
from sidecar.store.errors import StoreUnavailable
from tests.control.support.work import Work

CSV: Media = "text/csv"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ([], None),
        ([""], None),
        (["*/*"], None),
        (["text/html"], None),
        (["application/json"], None),
        ([CSV], CSV),
        (["TEXT/CSV; charset=utf-8"], CSV),
        (["text/csv, */*"], CSV),
        (["text/csv, application/json"], CSV),
        (["application/json, text/csv"], None),
        (["application/json", CSV], None),
        ([CSV, "application/json"], CSV),
        (["application/x-ndjson, text/csv;q=0.5"], CSV),
        (["text/csv;q=0"], None),
        (["text/csv;q=0, application/json"], None),
        (["text/csv;q=0, application/json;q=0"], None),
        (["text/csv;q=0.1, application/json;q=0.9"], None),
        (["application/json;q=0.1, text/csv;q=0.9"], CSV),
        (["text/csv;q=0.1, application/*;q=0.9"], None),
        (["text/csv;q=0.1, */*;q=0.9"], None),
        (["text/csv;q=0.9, */*;q=0.1"], CSV),
        (["text/csv;q=0.5, application/json;q=0.1, */*"], CSV),
    ],
)
def test_another_form_than_json_is_for_those_who_do_not_want_json_more(accept: list[str], wanted: str | None) -> None:
    assert negotiate(accept, (CSV,)) == wanted


def test_what_is_not_offered_is_not_given() -> None:
    assert negotiate([CSV], ()) is None
    assert negotiate([CSV], ("application/x-ndjson",)) is None


@asynccontextmanager
async def served(pieces: Callable[[], AsyncGenerator[bytes]], media: Media | None) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """An answer of these pieces on a free port: a client, and the address."""

    async def export(request: web.Request) -> web.StreamResponse:
        stream = pieces()
        try:
            return await respond(request, Answer(200, media=media, stream=stream, filename="x.csv"), "req_1")
        finally:
            await stream.aclose()

    app = web.Application(middlewares=[as_json])
    app.router.add_get("/export", export)
    runner = await serve(app, Listen.parse("127.0.0.1:0"))
    try:
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as session:
            yield session, f"http://{host}:{port}/export"
    finally:
        await runner.cleanup()


def made_of(*pieces: bytes | Exception) -> Callable[[], AsyncGenerator[bytes]]:
    async def made() -> AsyncGenerator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return made


HALF = b"x" * (WHOLE // 2)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("media", "pieces", "length"),
    [
        (None, (b"[1,", b"2]"), 5),
        (None, (HALF, HALF[1:]), WHOLE - 1),
        (None, (HALF, HALF), None),
        (None, (HALF, HALF, HALF), None),
        (CSV, (b"a",), None),
        (CSV, (b"", b"a"), None),
    ],
)
async def test_a_small_document_has_a_length_and_a_large_one_comes_as_it_is_made(
    method: str, media: Media | None, pieces: tuple[bytes, ...], length: int | None
) -> None:
    async with served(made_of(*pieces), media) as (session, url), session.request(method, url) as response:
        assert (response.status, response.content_length) == (200, length)
        assert response.headers["Content-Type"] == f"{media or 'application/json'}; charset=utf-8"
        assert (response.headers["X-Request-Id"], response.headers["Cache-Control"]) == ("req_1", "no-store")
        assert ("Vary" in response.headers, "Content-Disposition" in response.headers) == (media is not None, media is not None)
        assert await response.read() == (b"" if method == "HEAD" else b"".join(pieces))


@pytest.mark.parametrize(("media", "before"), [(None, (HALF,)), (CSV, ())])
async def test_what_fails_before_anything_was_sent_is_refused(media: Media | None, before: tuple[bytes, ...]) -> None:
    async with served(made_of(*before, StoreUnavailable("away")), media) as (session, url), session.get(url) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "key_store_unavailable")


@pytest.mark.parametrize(("media", "before"), [(None, (HALF, HALF)), (CSV, (b"a",))])
async def test_what_fails_later_is_broken_off_and_told(
    caplog: pytest.LogCaptureFixture, media: Media | None, before: tuple[bytes, ...]
) -> None:
    async with served(made_of(*before, StoreUnavailable("away")), media) as (session, url), session.get(url) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == ["the answer to /export broke off"]


@pytest.mark.parametrize("media", [None, CSV])
async def test_others_have_a_turn_between_two_pieces(media: Media | None) -> None:
    """Though the client takes whatever it gets, and making a piece waits for nothing."""
    work = Work()
    seen: list[int] = []

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(40):
            seen.append(work.turns)
            yield b"x" * (WHOLE // 16)

    async with work.watching(), served(pieces, media) as (session, url), session.get(url) as response:
        assert len(await response.read()) == 40 * WHOLE // 16
    assert len(set(seen)) == 40


async def test_a_client_that_leaves_an_export_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with served(endless, CSV) as (session, url):
        response = await session.get(url)
        await response.content.readany()
        response.close()
        await asyncio.wait_for(ended.wait(), 10)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
