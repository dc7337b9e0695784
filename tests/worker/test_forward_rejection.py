"""A hub that does not know the sidecar's own access key: a 401, or a 200 whose only event says so."""

from __future__ import annotations

import asyncio

import pytest

from tests.worker.plane import HubSide, Plane, running

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
NOT_KNOWN = b'data: {"error":"User not authenticated"}\n\n'
SAYS_NO = [
    pytest.param(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", id="401"),
    pytest.param(EVENTS + b"Content-Length: %d\r\n\r\n" % len(NOT_KNOWN) + NOT_KNOWN, id="events of a length"),
    pytest.param(EVENTS + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(NOT_KNOWN), NOT_KNOWN), id="chunked events"),
    pytest.param(EVENTS + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(NOT_KNOWN), NOT_KNOWN), id="events that go on"),
    pytest.param(EVENTS + b"Connection: close\r\n\r\n" + NOT_KNOWN, id="events up to the end"),
]
PATH = "/api/v2/chat/completions"


async def asked(plane: Plane) -> bytes:
    return await plane.exchange(plane.post(b"{}", PATH))


@pytest.mark.parametrize("answer", SAYS_NO)
async def test_the_client_is_told_that_the_operator_must_do_something(answer: bytes) -> None:
    async def say(side: HubSide) -> None:
        # The loop's clock counts milliseconds.
        await asyncio.sleep(0.01)
        await side.send(answer)

    async with running(profile="aigne") as plane:
        plane.hub.answer = say
        received = await asked(plane)
        assert received.startswith(b"HTTP/1.1 502 ") and b'"code":"hub_rejected_credential"' in received
        (event,) = plane.events.requests
        assert (event.status, event.outcome, event.reason) == (502, "hub_error", "hub_rejected_credential")
        assert event.hub_status in (200, 401)
        assert event.bytes_in == len(b"{}") and event.hub_time > 0


@pytest.mark.parametrize(("profile", "status"), [("aigne", b"502"), ("generic", b"401")])
async def test_a_sidecar_without_an_access_key_blames_no_client_of_an_aigne_hub(profile: str, status: bytes) -> None:
    async def refuse(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    async with running(profile=profile, environment={"SIDECAR_HUB__ACCESS_KEY": ""}) as plane:
        plane.hub.answer = refuse
        # What other hubs take from clients is not known here, so their 401 may well be the client's.
        assert (await asked(plane)).startswith(b"HTTP/1.1 %b " % status)


async def test_what_comes_after_the_head_is_passed_on_and_counted_as_what_it_is() -> None:
    passed = asyncio.Event()

    async def late(side: HubSide) -> None:
        await side.send(EVENTS + b"Connection: close\r\n\r\n")
        await passed.wait()
        await side.send(NOT_KNOWN)
        side.writer.close()

    async with running(profile="aigne") as plane:
        plane.hub.answer = late
        reader, writer = await plane.open()
        writer.write(plane.post(b"{}", PATH))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        passed.set()
        assert NOT_KNOWN in await reader.read(-1)
        (event,) = await plane.event()
        assert (event.status, event.outcome, event.reason) == (200, "hub_error", "hub_rejected_credential")


async def to_the_end(side: HubSide, answer: bytes) -> None:
    await side.send(answer)
    side.writer.close()


@pytest.mark.parametrize(
    "answer",
    [
        EVENTS + b"Connection: close\r\n\r\n" + b'data: {"error":"Model not found"}\n\n',
        EVENTS + b"Connection: close\r\n\r\n" + b'data: {"text":"User not authenticated"}\n\n',
        EVENTS + b"Connection: close\r\n\r\n" + b'data: {"delta":{"text":"x"}}\n\n' + NOT_KNOWN,
        EVENTS.replace(b"text/event-stream", b"text/plain") + b"Connection: close\r\n\r\n" + NOT_KNOWN,
    ],
    ids=["another error", "words of a model", "words that come later", "no events"],
)
async def test_any_other_200_stays_one(answer: bytes) -> None:
    async with running(profile="aigne") as plane:
        plane.hub.answer = lambda side: to_the_end(side, answer)
        received = await asked(plane)
        assert received.startswith(b"HTTP/1.1 200 ") and answer.partition(b"\r\n\r\n")[2] in received


async def test_without_a_key_of_its_own_the_sidecar_says_what_the_hub_says() -> None:
    async with running(profile="generic", environment={"SIDECAR_HUB__ACCESS_KEY": ""}) as plane:
        plane.hub.answer = lambda side: to_the_end(side, EVENTS + b"Connection: close\r\n\r\n" + NOT_KNOWN)
        assert (await plane.exchange(plane.post(b"{}"))).startswith(b"HTTP/1.1 200 ")
