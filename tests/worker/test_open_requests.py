"""Requests that are cut: told why while nothing of an answer was sent, broken off after that."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import pytest

from sidecar.events.record import Request
from sidecar.keys.record import Key, Limits
from sidecar.limits.decision import Admission
from tests.worker.plane import HubSide, Plane, endless, running, until

USAGE = b'{"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'


def revoke(plane: Plane) -> None:
    key = plane.keys.change(plane.key, revoked_at=time.time())
    plane.plane.open.key_changed(key.id)


async def cut_while_waiting(plane: Plane, raw: bytes, cut: Callable[[], object], is_waiting: Callable[[], object]) -> bytes:
    """What a client receives that has sent `raw` and is cut once `is_waiting`."""
    reader, writer = await plane.open()
    writer.write(raw)
    await until(is_waiting)
    cut()
    return await asyncio.wait_for(reader.read(-1), 10)


async def answer_when(asked: asyncio.Event, side: HubSide) -> None:
    """The hub's answer, once the test asks for it."""
    await asked.wait()
    await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(USAGE) + USAGE)


def endings(event: Request) -> tuple[int, str, str, str]:
    return event.status, event.outcome, event.reason, event.ending


async def test_what_has_begun_is_broken_off() -> None:
    async with running() as plane:
        plane.hub.answer = endless
        reader, writer = await plane.open()
        writer.write(plane.get())
        await reader.readuntil(b"1\r\nx\r\n")
        revoke(plane)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 10) == b"", "a refusal within an answer would be taken for some of it"
        (event,) = await plane.event()
        assert endings(event) == (200, "denied", "api_key_revoked", "revoked")


async def test_who_waits_for_an_answer_is_told_and_the_hubs_answer_is_metered() -> None:
    asked = asyncio.Event()

    async with running(profile="aigne") as plane:
        plane.hub.answer = lambda side: answer_when(asked, side)
        raw = plane.post(b"{}", "/api/v2/chat/completions", close=False)
        received = await cut_while_waiting(plane, raw, lambda: revoke(plane), lambda: plane.hub.seen)
        assert received.startswith(b"HTTP/1.1 401 ") and b'"code":"api_key_revoked"' in received
        assert b"connection: close\r\n" in received
        assert not plane.events.requests, "the hub is still at work"
        asked.set()
        (event,) = await plane.event()
        assert endings(event) == (401, "denied", "api_key_revoked", "revoked")
        assert (event.hub_status, event.tokens.input, event.tokens.output) == (200, 7, 3)


@pytest.mark.parametrize("streams", [False, True])
async def test_what_the_hub_says_later_is_not_sent_behind_what_the_client_was_told(streams: bool, caplog: pytest.LogCaptureFixture) -> None:
    asked = asyncio.Event()

    async def stream(side: HubSide) -> None:
        await asked.wait()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.01)
        event = b"data: %b\n\n" % USAGE
        await side.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))

    async with running(profile="aigne") as plane:
        plane.hub.answer = stream if streams else lambda side: answer_when(asked, side)
        raw = plane.post(b"{}", "/api/v2/chat/completions", close=False)
        reader, writer = await plane.open()
        # The second keeps the connection from being closed at once.
        writer.write(raw + raw)
        await until(lambda: plane.hub.seen)
        revoke(plane)
        await reader.readuntil(b"api_key_revoked")
        asked.set()
        (event,) = await plane.event()
        assert endings(event) == (401, "denied", "api_key_revoked", "revoked")
        assert (event.hub_status, event.tokens.input, event.tokens.output) == (200, 7, 3)
        assert b"HTTP/1.1" not in await asyncio.wait_for(reader.read(-1), 10)
        assert not caplog.records


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n", b""])
async def test_an_error_of_the_hub_that_nobody_gets_is_not_the_outcome(answer: bytes) -> None:
    asked = asyncio.Event()

    async def late(side: HubSide) -> None:
        await asked.wait()
        await side.send(answer)
        side.writer.close()

    async with running(profile="aigne") as plane:
        plane.hub.answer = late
        raw = plane.post(b"{}", "/api/v2/chat/completions", close=False)
        await cut_while_waiting(plane, raw, lambda: revoke(plane), lambda: plane.hub.seen)
        asked.set()
        (event,) = await plane.event()
        assert endings(event) == (401, "denied", "api_key_revoked", "revoked")


async def test_who_is_still_sending_is_told() -> None:
    async with running() as plane:
        raw = plane.post(b"x" * 100, fields="X-Any: 1\r\n", close=False)[:-50]
        received = await cut_while_waiting(plane, raw, lambda: revoke(plane), lambda: plane.hub.seen)
        assert received.startswith(b"HTTP/1.1 401 ") and b'"code":"api_key_revoked"' in received
        (event,) = await plane.event()
        assert endings(event) == (401, "denied", "api_key_revoked", "revoked")
        assert not plane.hub.seen[0].complete


async def test_who_is_sending_what_must_be_read_first_is_told() -> None:
    async with running(profile="openai") as plane:
        plane.keys.change(plane.key, allowed_models=("a",))
        raw = plane.post(b'{"model":"a"}', close=False)[:-5]
        received = await cut_while_waiting(plane, raw, lambda: revoke(plane), lambda: len(plane.plane.open))
        assert received.startswith(b"HTTP/1.1 401 ")
        (event,) = await plane.event()
        assert endings(event) == (401, "denied", "api_key_revoked", "revoked")
        assert not plane.hub.seen


async def test_who_waits_for_admission_is_told_and_the_hub_is_not_asked() -> None:
    admitted = asyncio.Event()

    async def admit(key: Key, request_id: str, tokens: int) -> Admission:
        await admitted.wait()
        return Admission(key_id=key.id)

    async with running() as plane:
        plane.limiter.admit = admit  # type: ignore[method-assign]
        plane.keys.change(plane.key, limits=Limits(rpm=5))
        received = await cut_while_waiting(plane, plane.post(b"{}"), lambda: revoke(plane), lambda: len(plane.plane.open))
        assert received.startswith(b"HTTP/1.1 401 ")
        admitted.set()
        (event,) = await plane.event()
        assert endings(event) == (401, "denied", "api_key_revoked", "revoked")
        await until(lambda: plane.limiter.released)
        assert not plane.hub.seen


async def test_head_gets_no_body() -> None:
    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    async with running() as plane:
        plane.hub.answer = silent
        raw = plane.get().replace(b"GET", b"HEAD", 1)
        received = await cut_while_waiting(plane, raw, lambda: revoke(plane), lambda: plane.hub.seen)
        assert received.startswith(b"HTTP/1.1 401 ") and received.endswith(b"\r\n\r\n")


async def test_who_waits_when_the_worker_ends_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sidecar.worker.open_requests")

    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    draining: list[asyncio.Task[None]] = []

    async with running() as plane:
        plane.hub.answer = silent
        received = await cut_while_waiting(
            plane,
            plane.post(b"{}", close=False),
            lambda: draining.append(asyncio.create_task(plane.plane.drain(0.05))),
            lambda: plane.hub.seen,
        )
        assert received.startswith(b"HTTP/1.1 503 ") and b'"code":"shutting_down"' in received
        assert b"retry-after:" in received
        await draining[0]
        (event,) = await plane.event()
        assert (event.status, event.reason, event.ending) == (503, "shutting_down", "shutdown")
        assert not [record for record in caplog.records if record.name == "sidecar.worker.open_requests"], "no key has changed"


async def test_whoever_left_before_is_no_refusal() -> None:
    asked = asyncio.Event()

    async with running(profile="aigne") as plane:
        plane.hub.answer = lambda side: answer_when(asked, side)
        _, writer = await plane.open()
        writer.write(plane.post(b"{}", "/api/v2/chat/completions", close=False))
        await until(lambda: plane.hub.seen)
        writer.transport.abort()
        await until(lambda: len(plane.plane.drains))
        revoke(plane)
        await asyncio.sleep(0)
        asked.set()
        (event,) = await plane.event()
        assert endings(event) == (200, "client_closed", "", "drained")
        assert event.tokens.output == 3


async def test_who_was_told_one_thing_is_not_recorded_with_another() -> None:
    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    async with running(profile="aigne") as plane:
        plane.hub.answer = silent
        raw = plane.post(b"{}", "/api/v2/chat/completions", close=False)
        received = await cut_while_waiting(plane, raw, lambda: revoke(plane), lambda: plane.hub.seen)
        assert received.startswith(b"HTTP/1.1 401 ")
        await plane.plane.drain(0.05)
        (event,) = await plane.event()
        assert endings(event) == (401, "denied", "api_key_revoked", "revoked")
