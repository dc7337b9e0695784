"""Forwarding over real sockets: what reaches the hub, what comes back, and what happens when either side fails."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from tests.worker.plane import HubSide, running


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


async def test_a_small_exchange_is_one_write_each_way() -> None:
    async with running() as plane:
        answer = await plane.exchange(plane.post(b'{"model":"m"}'))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b'\r\n\r\n{"ok":true}')
        assert plane.hub.seen[0].body == b'{"model":"m"}'
        event = plane.events.requests[0]
        assert (event.outcome, event.status, event.hub_status, event.bytes_in, event.bytes_out) == ("ok", 200, 200, 13, 11)


async def test_the_event_is_written_before_the_last_byte_is_sent() -> None:
    async with running() as plane:
        reader, writer = await plane.open()
        for number in range(1, 20):
            writer.write(plane.get(close=False))
            await read_head(reader)
            await reader.readexactly(11)
            assert len(plane.events.requests) == number
        writer.close()


async def test_sse_chunks_pass_one_by_one() -> None:
    released = asyncio.Event()

    async def stream(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for text in (b"data: 1\n\n", b"data: 2\n\n"):
            await side.send(b"%x\r\n%b\r\n" % (len(text), text))
            await released.wait()
            released.clear()
        await side.send(b"0\r\n\r\n")

    async with running() as plane:
        plane.hub.answer = stream
        reader, writer = await plane.open()
        writer.write(plane.get(close=False))
        assert b"transfer-encoding: chunked" in await read_head(reader)
        # The hub waits for us before it sends more, so a chunk that arrives was not held back.
        assert await read_chunk(reader) == b"data: 1\n\n"
        released.set()
        assert await read_chunk(reader) == b"data: 2\n\n"
        assert not plane.events.requests
        released.set()
        assert await read_chunk(reader) == b""
        event = plane.events.requests[0]
        assert event.streaming and event.bytes_out == 18
        writer.close()


async def test_headers_are_forwarded_before_the_first_body_byte() -> None:
    done = asyncio.Event()

    async def silent(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await done.wait()
        await side.send(b"0\r\n\r\n")

    async with running() as plane:
        plane.hub.answer = silent
        reader, writer = await plane.open()
        writer.write(plane.get())
        assert (await asyncio.wait_for(read_head(reader), 2)).startswith(b"HTTP/1.1 200")
        done.set()
        assert (await reader.read(-1)) == b"0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
async def test_uploads_arrive_byte_for_byte_with_length_or_chunked(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    async with running() as plane:
        assert b"200 OK" in await plane.exchange(plane.post(body))
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in (body[: size // 2], body[size // 2 :]) if part)
        head = f"POST /v1/x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {plane.key}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b"200 OK" in await plane.exchange(head.encode() + chunks + b"0\r\nTrailer-Field: dropped\r\n\r\n")
        assert [side.body for side in plane.hub.seen] == [body, body]
        assert b"railer" not in plane.hub.received


async def test_a_body_is_asked_for_only_after_the_key_is_good() -> None:
    async with running() as plane:
        reader, writer = await plane.open()
        head = "POST /v1/x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        writer.write(head.format(plane.key).encode())
        assert await read_head(reader) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await read_head(reader)).startswith(b"HTTP/1.1 200")
        assert "expect" not in dict(plane.hub.seen[0].fields())
        refused = await plane.exchange(head.format("ahk_wrong").encode())
        assert refused.startswith(b"HTTP/1.1 401") and b"100 Continue" not in refused
        writer.close()


async def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    async def refuse(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")

    async with running() as plane:
        plane.hub.early = True
        plane.hub.answer = refuse
        reader, writer = await plane.open()
        head = f"POST /v1/x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {plane.key}\r\nContent-Length: 100000\r\n\r\n"
        writer.write(head.encode() + b"x" * 10)
        answer = await asyncio.wait_for(reader.read(-1), 5)
        assert answer.startswith(b"HTTP/1.1 413") and answer.endswith(b"big") and b"connection: close" in answer
        writer.close()


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
    ],
)
async def test_an_answer_that_breaks_off_never_looks_complete(broken: bytes) -> None:
    async def cut(side: HubSide) -> None:
        await side.send(broken)
        await asyncio.sleep(0.05)
        side.writer.transport.abort()

    async with running() as plane:
        plane.hub.answer = cut
        reader, writer = await plane.open()
        writer.write(plane.get(close=False))
        received = b""
        try:
            while data := await asyncio.wait_for(reader.read(4096), 5):
                received += data
        except ConnectionResetError:
            pass
        assert b"200 OK" in received and not received.endswith(b"\n0\r\n\r\n")
        (event,) = await plane.event()
        assert (event.outcome, event.ending) == ("hub_error", "hub_aborted")
        writer.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"garbage\r\n\r\n", b"hub_unavailable"),
        (b"", b"hub_unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"hub_unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"hub_unavailable"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"hub_unavailable"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"hub_unavailable"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", b"hub_rejected_credential"),
    ],
)
async def test_answers_that_are_no_answers_become_502(answer: bytes, code: bytes) -> None:
    async def send(side: HubSide) -> None:
        await side.send(answer)
        side.writer.close()

    async with running() as plane:
        plane.hub.answer = send
        received = await plane.exchange(plane.get())
        assert received.startswith(b"HTTP/1.1 502") and code in received
        assert plane.events.requests[0].outcome == "hub_error"


async def test_a_hub_that_is_down_is_502_and_a_silent_one_504() -> None:
    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    async with running(environment={"SIDECAR_HUB__URL": url}) as plane:
        assert b"HTTP/1.1 502" in await plane.exchange(plane.get())
    async with running(environment={"SIDECAR_PROXY__TIMEOUTS__HUB_FIRST_BYTE": "200ms"}) as plane:
        plane.hub.answer = silent
        assert b"hub_timeout" in await plane.exchange(plane.get())


async def test_a_request_is_never_sent_twice_when_a_kept_connection_dies() -> None:
    async def die(side: HubSide) -> None:
        if len(plane.hub.seen) == 1:
            await side.send(plane.hub.OK)
        else:
            side.writer.transport.abort()

    async with running() as plane:
        plane.hub.answer = die
        assert b"200 OK" in await plane.exchange(plane.get())
        assert b"HTTP/1.1 502" in await plane.exchange(plane.get())
        assert len(plane.hub.seen) == 2


@pytest.mark.parametrize(
    ("hub_answer", "method", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "GET", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", "HEAD", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET", b"hi"),
    ],
)
async def test_answers_without_a_body(hub_answer: bytes, method: str, expected: bytes) -> None:
    async def send(side: HubSide) -> None:
        await side.send(hub_answer)

    async with running() as plane:
        plane.hub.answer = send
        received = await plane.exchange(plane.get().replace(b"GET", method.encode(), 1))
        head, _, body = received.partition(b"\r\n\r\n")
        assert body == expected
        assert (b"content-length: 1234" in head) == (method == "HEAD")
        assert (b"content-length" in head) == (method == "HEAD" or bool(expected))


async def test_a_body_that_ends_with_the_connection_ends_so_for_old_clients_and_chunked_for_new() -> None:
    async def until_close(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nto the ")
        await asyncio.sleep(0.02)
        await side.send(b"end")
        side.writer.close()

    async with running() as plane:
        plane.hub.answer = until_close
        assert (await plane.exchange(plane.get())).endswith(b"3\r\nend\r\n0\r\n\r\n")
        old = await plane.exchange(plane.get().replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert old.endswith(b"to the end") and b"transfer-encoding" not in old


async def test_a_leaving_client_closes_the_hub_connection_when_the_profile_closes() -> None:
    closed = asyncio.Event()

    async def watch(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await side.reader.read(1)
        closed.set()

    async with running() as plane:
        plane.hub.answer = watch
        reader, writer = await plane.open()
        writer.write(plane.get())
        await read_head(reader)
        writer.transport.abort()
        await asyncio.wait_for(closed.wait(), 2)
        (event,) = await plane.event()
        assert (event.outcome, event.ending) == ("client_closed", "client_closed")


@pytest.mark.parametrize("reset", [True, False])
async def test_the_answer_is_drained_for_its_usage_when_the_profile_drains(reset: bool) -> None:
    leave = asyncio.Event()

    async def slow(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await leave.wait()
        text = b'data: {"delta":{"json":{"usage":{"inputTokens":7,"outputTokens":3}}}}\n\n'
        await side.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text))

    async with running(profile="aigne") as plane:
        plane.hub.answer = slow
        reader, writer = await plane.open()
        writer.write(plane.post(b'{"input":{"modelOptions":{"model":"m"}}}', "/api/v2/chat"))
        await read_head(reader)
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        async with asyncio.timeout(2):
            while not len(plane.plane.drains):
                await asyncio.sleep(0.005)
        leave.set()
        (event,) = await plane.event()
        assert (event.outcome, event.ending) == ("client_closed", "drained")
        assert (event.tokens.input, event.tokens.output, event.usage_source) == (7, 3, "hub")


async def test_a_client_that_leaves_during_its_upload_aborts_the_request_at_the_hub() -> None:
    async with running() as plane:
        _reader, writer = await plane.open()
        head = f"POST /v1/x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {plane.key}\r\nContent-Length: 100\r\n\r\nhalf"
        writer.write(head.encode())
        async with asyncio.timeout(2):
            while not plane.hub.seen:
                await asyncio.sleep(0.005)
        writer.close()
        (event,) = await plane.event()
        assert event.outcome == "client_closed"
        assert not plane.hub.seen[0].complete


async def test_a_fault_of_the_client_during_the_answer_is_not_the_hubs() -> None:
    async def begin(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")

    async with running() as plane:
        plane.hub.answer, plane.hub.early = begin, True
        reader, writer = await plane.open()
        writer.write(plane.post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await reader.readuntil(b"1\r\nx\r\n")
        writer.write(b"no size\r\n")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 5)
        (event,) = await plane.event()
        assert (event.status, event.outcome, event.reason, event.ending) == (200, "client_error", "invalid_request", "refused")
        assert plane.plane.counters()["sidecar_upstream_truncated_total"] == 0
        assert not plane.hub.seen[0].complete


async def test_a_slow_reader_holds_the_hub_back() -> None:
    sent = 0

    async def flood(side: HubSide) -> None:
        nonlocal sent
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        piece = b"x" * 100_000
        while sent < 200_000_000:
            await side.send(piece)
            sent += len(piece)

    async with running() as plane:
        plane.hub.answer = flood
        reader, writer = await plane.open()
        writer.write(plane.get())
        await read_head(reader)
        last = -1
        async with asyncio.timeout(10):
            while sent != last:
                last = sent
                await asyncio.sleep(0.2)
        assert sent < 40_000_000, "all that a client does not read was taken from the hub"
        writer.transport.abort()


async def test_a_slow_hub_holds_the_client_back() -> None:
    async with running() as plane:
        release = asyncio.Event()

        async def lazy(side: HubSide) -> None:
            await release.wait()

        plane.hub.early = True
        plane.hub.answer = lazy
        _reader, writer = await plane.open()
        writer.write(
            f"POST /v1/x HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {plane.key}\r\nContent-Length: 200000000\r\n\r\n".encode()
        )
        sent = 0

        async def upload() -> None:
            nonlocal sent
            while sent < 200_000_000:
                writer.write(b"x" * 100_000)
                await writer.drain()
                sent += 100_000

        task = asyncio.create_task(upload())
        last = -1
        async with asyncio.timeout(10):
            while sent != last or not sent:
                last = sent
                await asyncio.sleep(0.2)
        assert sent < 40_000_000
        task.cancel()
        writer.transport.abort()
        release.set()


async def test_a_broken_answer_without_a_length_is_a_reset_for_an_old_client() -> None:
    async def cut(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.sleep(0.05)
        side.writer.transport.abort()

    async with running() as plane:
        plane.hub.answer = cut
        reader, writer = await plane.open()
        writer.write(plane.get().replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert b"hello" in await reader.readuntil(b"hello")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 5)
