"""Which form an answer has, and how an export ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import aiohttp
import pytest
from aiohttp import web

from sidecar.control.admin.endpoint import Answer
from sidecar.control.admin.rendering import negotiate, respond
from sidecar.control.serving import serve
from sidecar.settings.values import Listen

CSV = "text/csv"


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


async def test_a_client_that_leaves_an_export_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def export(request: web.Request) -> web.StreamResponse:
        pieces = endless()
        try:
            return await respond(request, Answer(200, media="text/csv", stream=pieces, filename="x.csv"), "req_1")
        finally:
            await pieces.aclose()

    app = web.Application()
    app.router.add_get("/export.csv", export)
    runner = await serve(app, Listen.parse("127.0.0.1:0"))
    try:
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as session:
            response = await session.get(f"http://{host}:{port}/export.csv")
            await response.content.readany()
            response.close()
            await asyncio.wait_for(ended.wait(), 10)
    finally:
        await runner.cleanup()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
