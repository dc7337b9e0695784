"""What a call was taken for beforehand is given back when the hub used nothing that is known of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from sidecar.keys.record import Key, Limits
from sidecar.limits.decision import Admission
from tests.support.ports import free_ports
from tests.worker.plane import HubSide, RawHub, Unlimited, running, until
from tests.worker.upstream.test_tunnel import HANDSHAKE


class Noting(Unlimited):
    """Admits everything, and notes what each call is said to have used."""

    def __init__(self) -> None:
        super().__init__()
        self.admitted = 0
        self.used: list[int | None] = []

    async def admit(self, key: Key, request_id: str, tokens: int) -> Admission:
        self.admitted += 1
        return await super().admit(key, request_id, tokens)

    def release(self, admission: Admission, tokens: int | None, metered: int) -> None:
        self.used.append(tokens)


def sends(answer: bytes) -> Callable[[HubSide], Awaitable[None]]:
    async def send(side: HubSide) -> None:
        await side.send(answer)

    return send


async def drop(side: HubSide) -> None:
    side.writer.transport.abort()


async def cut(side: HubSide) -> None:
    await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}")
    side.writer.transport.abort()


@pytest.mark.parametrize(
    ("answer", "used"),
    [
        (sends(RawHub.OK), None),
        (sends(b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n"), 0),
        (sends(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), 0),
        (sends(b"garbage\r\n\r\n"), 0),
        (drop, 0),
        (cut, 0),
    ],
    ids=["well", "500", "401", "garbage", "dropped", "cut off"],
)
@pytest.mark.parametrize("fields", ["", HANDSHAKE], ids=["call", "websocket"])
async def test_a_call_that_failed_keeps_no_tokens(answer: Callable[[HubSide], Awaitable[None]], used: int | None, fields: str) -> None:
    async with running() as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=1000))
        plane.hub.answer = answer
        with contextlib.suppress(ConnectionResetError):
            await plane.exchange(plane.get(fields=fields))
        assert limiter.used == [used]


@pytest.mark.parametrize("fields", ["", HANDSHAKE], ids=["call", "websocket"])
async def test_nor_does_one_that_found_no_hub(fields: str) -> None:
    async with running(environment={"SIDECAR_HUB__URL": f"http://127.0.0.1:{free_ports(1)[0]}/"}) as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=1000))
        assert (await plane.exchange(plane.get(fields=fields))).startswith(b"HTTP/1.1 502 ")
        assert limiter.used == [0]


async def test_nor_does_one_whose_body_broke_off_at_its_client() -> None:
    async with running() as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=1000))
        reader, writer = await plane.open()
        writer.write(plane.post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await until(lambda: plane.hub.seen)
        writer.write(b"no size\r\n")
        assert (await asyncio.wait_for(reader.read(-1), 5)).startswith(b"HTTP/1.1 400 ")
        assert (limiter.admitted, limiter.used) == (1, [0])


@pytest.mark.parametrize("mode", ["enforce", "shadow", "off"])
async def test_one_whose_body_is_known_to_be_broken_is_not_admitted_at_all(mode: str) -> None:
    async with running(environment={"SIDECAR__ENFORCEMENT": mode}) as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(rpm=1))
        answer = await plane.exchange(
            plane.post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"1\r\na\r\nno size\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 400 ") and b"ratelimit" not in answer
        assert (limiter.admitted, limiter.used) == (0, [])
        assert not plane.hub.seen
        (event,) = plane.events.requests
        assert (event.outcome, event.reason) == ("client_error", "invalid_request")


BEGUN = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":12,"output_tokens":1}}}\n\n'
LATER = b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":%d}}\n\n'


@pytest.mark.parametrize(
    ("told", "used"),
    [
        (b": nothing yet\n\n", None),
        (BEGUN, None),
        (BEGUN + LATER % 4000, None),
        # More than it was taken for: what is known stands.
        (BEGUN + LATER % 4500, 4512),
    ],
    ids=["nothing", "begun", "less", "more"],
)
async def test_who_leaves_in_mid_answer_is_not_let_off_with_what_was_told_so_far(told: bytes, used: int | None) -> None:
    async def stream(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + told)
        await side.reader.read(1)

    async with running(profile="openai") as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=100_000))
        plane.hub.answer = stream
        reader, writer = await plane.open()
        writer.write(plane.post(b'{"model":"claude","max_tokens":4096,"stream":true}', "/v1/messages"))
        await reader.readuntil(told.rpartition(b"\n\n")[0])
        writer.transport.abort()
        (event,) = await plane.event()
        assert (event.outcome, event.usage_source) == ("client_closed", "none" if told.startswith(b":") else "partial")
        await until(lambda: limiter.used)
        assert limiter.used == [used]


async def test_who_stays_to_the_end_uses_what_the_hub_told() -> None:
    async with running(profile="openai") as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=100_000))
        plane.hub.answer = sends(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(BEGUN + LATER % 15), BEGUN + LATER % 15)
        )
        await plane.exchange(plane.post(b'{"model":"claude","max_tokens":4096,"stream":true}', "/v1/messages"))
        assert limiter.used == [27]


SPOKEN = b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\ndata: {"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101}}\n\n'


@pytest.mark.parametrize(
    ("content_type", "answer", "used"),
    [
        (b"audio/mpeg", b"\xff\xfb", 0),
        (b"Audio/WAV", b"RIFF", 0),
        (b"text/event-stream", SPOKEN, 115),
        # A hub that says nothing of what it sends.
        (b"application/octet-stream", b"RIFF", None),
    ],
)
async def test_speech_costs_what_its_stream_says_and_sound_nothing(content_type: bytes, answer: bytes, used: int | None) -> None:
    async with running(profile="openai") as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=1000))
        plane.hub.answer = sends(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (content_type, len(answer), answer)
        )
        await plane.exchange(plane.post(b'{"model":"gpt-4o-mini-tts","input":"Hello!"}', "/v1/audio/speech"))
        assert limiter.used == [used]
        (event,) = plane.events.requests
        assert (event.usage_source, event.tokens.output) == (("hub", 101) if used == 115 else ("none", 0))
