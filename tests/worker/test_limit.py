"""What a call was taken for beforehand is given back when the hub used nothing that is known of, and that it was counted when it never came there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from sidecar.keys.record import Key, Limits, Quota
from sidecar.limits.admission import Limiter
from sidecar.limits.decision import Admission, Counted, Window
from sidecar.store.client import Store
from sidecar.worker.upstream.connection import HubConnection
from tests.support.ports import free_ports
from tests.worker.plane import HubSide, Plane, RawHub, Unlimited, running, until
from tests.worker.upstream.test_dial import Address
from tests.worker.upstream.test_dial import silent as silent
from tests.worker.upstream.test_tunnel import HANDSHAKE


class Noting(Unlimited):
    """Admits everything, and notes what each call is taken for and said to have used, and how many are withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.admitted = 0
        self.asked: list[int] = []
        self.used: list[int | None] = []
        self.withdrawn = 0

    async def admit(self, key: Key, request_id: str, tokens: int) -> Admission:
        self.admitted += 1
        self.asked.append(tokens)
        return Admission(requests=Window(5, 3, 60.0), key_id=key.id, counted=Counted(7, ""))

    def withdraw(self, admission: Admission) -> None:
        self.withdrawn += 1

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
    ("answer", "used", "withdrawn"),
    [
        (sends(RawHub.OK), None, 0),
        (sends(b"HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n"), 0, 0),
        (sends(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), 0, 1),
        (sends(b"garbage\r\n\r\n"), 0, 0),
        (drop, 0, 0),
        (cut, 0, 0),
    ],
    ids=["well", "500", "401", "garbage", "dropped", "cut off"],
)
@pytest.mark.parametrize("fields", ["", HANDSHAKE], ids=["call", "websocket"])
async def test_a_call_that_failed_keeps_no_tokens_and_counts_if_the_hub_took_it(
    answer: Callable[[HubSide], Awaitable[None]], used: int | None, withdrawn: int, fields: str
) -> None:
    async with running() as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=1000))
        plane.hub.answer = answer
        with contextlib.suppress(ConnectionResetError):
            await plane.exchange(plane.get(fields=fields))
        assert (limiter.used, limiter.withdrawn) == ([used], withdrawn)


async def refused(plane: Plane, fields: str = "") -> bytes:
    """The answer to a call that is admitted and then refused, before anything of it is sent."""
    limiter = plane.plane.front.serving._limit._limiter = Noting()
    plane.keys.change(plane.key, limits=Limits(rpm=5, tpm=1000))
    answer = await plane.exchange(plane.get(fields=fields))
    assert (limiter.admitted, limiter.used, limiter.withdrawn) == (1, [0], 1)
    assert not plane.hub.seen
    # Its client is told that it has as much left as before.
    assert b"x-ratelimit-remaining-requests: 4\r\n" in answer
    return answer


@pytest.mark.parametrize("fields", ["", HANDSHAKE], ids=["call", "websocket"])
async def test_one_that_found_no_hub_costs_nothing(fields: str) -> None:
    async with running(environment={"SIDECAR_HUB__URL": f"http://127.0.0.1:{free_ports(1)[0]}/"}) as plane:
        assert (await refused(plane, fields)).startswith(b"HTTP/1.1 502 ")


async def test_nor_does_one_that_waited_in_vain_for_a_connection(silent: Address) -> None:
    host, port = silent[4]
    environment = {"SIDECAR_HUB__URL": f"http://{host}:{port}/", "SIDECAR_PROXY__TIMEOUTS__HUB_CONNECT": "100ms"}
    async with running(environment=environment) as plane:
        assert (await refused(plane)).startswith(b"HTTP/1.1 504 ")


async def test_nor_does_one_for_which_there_was_no_connection_left() -> None:
    async with running(environment={"SIDECAR_HUB__MAX_CONNECTIONS": "1"}) as plane:
        taken = await plane.plane.pool.connect(b"GET")
        assert (await refused(plane)).startswith(b"HTTP/1.1 503 ")
        taken.abort()


@pytest.mark.parametrize(
    ("rest", "status"),
    [(b"no size\r\n", b"400"), (b"", b"408"), (b"fff\r\n" + bytes(2000), b"413")],
    ids=["broken", "late", "large"],
)
async def test_nor_does_one_whose_body_fails_with_its_first_piece(rest: bytes, status: bytes) -> None:
    environment = {"SIDECAR_PROXY__TIMEOUTS__BODY_IDLE": "100ms", "SIDECAR_PROXY__BOUNDS__BODY": "1KiB"}
    async with running(environment=environment) as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(rpm=5))
        reader, writer = await plane.open()
        writer.write(plane.post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        await until(lambda: limiter.admitted)
        writer.write(rest)
        assert (await asyncio.wait_for(reader.read(-1), 5)).startswith(b"HTTP/1.1 " + status)
        assert (limiter.used, limiter.withdrawn) == ([0], 1)
        assert not plane.hub.seen


async def leaves_before_its_body(plane: Plane, writer: asyncio.StreamWriter) -> None:
    writer.write(plane.post(b"x" * 4000)[:-4000])
    await until(lambda: len(plane.plane.open))
    writer.transport.abort()


async def leaves_before_there_is_a_connection(plane: Plane, writer: asyncio.StreamWriter) -> None:
    connect, go_on = plane.plane.pool.connect, asyncio.Event()

    async def connect_late(method: bytes) -> HubConnection:
        await go_on.wait()
        return await connect(method)

    plane.plane.pool.connect = connect_late  # type: ignore[method-assign]
    writer.write(plane.post(b"{}"))
    await until(lambda: len(plane.plane.open))
    writer.transport.abort()
    await until(lambda: not plane.plane.front.connections)
    go_on.set()


@pytest.mark.parametrize("leaves", [leaves_before_its_body, leaves_before_there_is_a_connection])
async def test_nor_does_one_whose_client_leaves_before_the_hub_gets_any_of_it(
    leaves: Callable[[Plane, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async with running() as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(rpm=5, tpm=1000))
        _, writer = await plane.open()
        await leaves(plane, writer)
        (event,) = await plane.event()
        assert event.ending == "client_closed"
        assert (limiter.admitted, limiter.used, limiter.withdrawn) == (1, [0], 1)
        assert not plane.hub.seen


async def test_one_that_the_hub_leaves_without_an_answer_counts() -> None:
    async def silence(side: HubSide) -> None:
        await side.reader.read(1)

    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__HUB_FIRST_BYTE": "100ms"}) as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(rpm=5))
        plane.hub.answer = silence
        answer = await plane.exchange(plane.get())
        assert answer.startswith(b"HTTP/1.1 504 ") and b"x-ratelimit-remaining-requests: 3\r\n" in answer
        assert limiter.withdrawn == 0


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        (Limits(rpm=2), None),
        (Limits(), Quota(requests=2)),
        (Limits(rpm=2, tpm=1000, max_concurrency=1), Quota(requests=2, tokens=1000)),
    ],
    ids=["rpm", "quota", "all"],
)
async def test_an_outage_of_the_hub_spends_nothing(store: Store, limits: Limits, quota: Quota | None) -> None:
    limiter = Limiter(store, "enforce")
    (port,) = free_ports(1)
    async with running(environment={"SIDECAR_HUB__URL": f"http://127.0.0.1:{port}/"}) as plane:
        plane.plane.front.serving._limit._limiter = limiter
        plane.keys.change(plane.key, limits=limits, quota=quota)
        for _ in range(5):
            answer = await plane.exchange(plane.post(b"{}"))
            assert answer.startswith(b"HTTP/1.1 502 ") and b"x-ratelimit-remaining-requests: 2\r\n" in answer
        async with await asyncio.start_server(plane.hub.handle, "127.0.0.1", port):
            answers = [(await plane.exchange(plane.post(b"{}")))[9:12] for _ in range(3)]
        assert answers == [b"200", b"200", b"429"]
    await limiter.close()


async def test_no_tokens_are_kept_by_one_whose_body_broke_off_at_its_client() -> None:
    async with running() as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=1000))
        reader, writer = await plane.open()
        writer.write(plane.post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await until(lambda: plane.hub.seen)
        writer.write(b"no size\r\n")
        assert (await asyncio.wait_for(reader.read(-1), 5)).startswith(b"HTTP/1.1 400 ")
        # The hub has seen its beginning.
        assert (limiter.admitted, limiter.used, limiter.withdrawn) == (1, [0], 0)


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


@pytest.mark.parametrize("leaves", [False, True], ids=["untold", "left"])
async def test_a_body_of_no_told_length_counts_by_what_came_of_it(leaves: bool) -> None:
    """Else every prompt would be taken for next to nothing where it is sent in chunks and its client leaves before the use is told."""

    async def begin(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}" + (b"" if leaves else b"{}"))
        await side.reader.read(1)

    async with running(profile="openai") as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=100_000))
        plane.hub.answer = begin
        head = plane.post(b"", "/v1/chat/completions").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        reader, writer = await plane.open()
        writer.write(head)
        await until(lambda: limiter.admitted)
        writer.write(b"fa00\r\n%b\r\n0\r\n\r\n" % bytes(64_000))
        await asyncio.wait_for(reader.readuntil(b"{}"), 5)
        writer.transport.abort()
        await until(lambda: limiter.used)
        assert (limiter.asked, limiter.used) == ([256], [16_256])


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


async def test_a_recording_of_which_the_hub_tells_no_tokens_does_not_spend_the_minute() -> None:
    """As an AIGNE Hub's transcriptions, which tell seconds or nothing."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n' + bytes(500_000) + b"\r\n--b--\r\n"
    async with running(profile="aigne") as plane:
        limiter = plane.plane.front.serving._limit._limiter = Noting()
        plane.keys.change(plane.key, limits=Limits(tpm=60_000))
        plane.hub.answer = sends(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"text":"hm"}')
        raw = plane.post(form, "/api/v2/audio/transcriptions").replace(b"application/json", b"multipart/form-data; boundary=b", 1)
        assert (await plane.exchange(raw)).startswith(b"HTTP/1.1 200 ")
        assert (limiter.asked, limiter.used) == ([256], [None])
