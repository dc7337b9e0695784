"""A request body as it arrives: counting, holding back, faults."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from sidecar.refusals import REQUEST_TIMEOUT, TOO_LARGE_TO_CHECK, Refused
from sidecar.worker.client.body import HIGH_WATER, ClientGone, RequestBody
from sidecar.worker.client.room import Room


class Flow:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def hold(self) -> None:
        self.calls.append("hold")

    def release(self) -> None:
        self.calls.append("release")

    def send_continue(self) -> None:
        self.calls.append("continue")


def body(flow: Flow | None = None, *, length: int | None = None, chunked: bool = False, expects: bool = False) -> RequestBody:
    return RequestBody(flow or Flow(), length, chunked, 1000 << 10, expects)


async def test_a_counted_body_ends_where_it_says_and_gives_back_the_rest() -> None:
    counted = body(length=5)
    assert counted.whole() is None
    assert counted.feed(b"hel") is None
    assert counted.feed(b"loGET /") == b"GET /"
    assert counted.whole() == b"hello" and counted.received == 5


async def test_no_length_is_no_body() -> None:
    assert body().whole() == b"" and body(length=0).complete


async def test_a_reader_wakes_when_bytes_come() -> None:
    counted = body(length=3)
    reading = asyncio.create_task(counted.read())
    await asyncio.sleep(0)
    counted.feed(b"abc")
    assert await reading == b"abc" and await counted.read() == b""


async def test_the_client_is_held_back_and_let_go() -> None:
    flow = Flow()
    counted = body(flow, length=HIGH_WATER * 3)
    counted.feed(b"x" * (HIGH_WATER + 1))
    assert flow.calls == ["hold"]
    assert len(await counted.read()) == HIGH_WATER + 1
    assert flow.calls == ["hold", "release"]


async def test_continue_is_sent_once_and_only_when_the_body_is_wanted() -> None:
    flow = Flow()
    expecting = body(flow, length=2, expects=True)
    assert expecting.is_awaited and flow.calls == []
    reading = asyncio.create_task(expecting.read())
    await asyncio.sleep(0)
    assert flow.calls == ["continue"]
    expecting.feed(b"hi")
    assert await reading == b"hi" and flow.calls == ["continue"]


async def test_continue_is_not_sent_to_a_client_that_did_not_wait() -> None:
    flow = Flow()
    eager = body(flow, length=4, expects=True)
    eager.feed(b"hi")
    assert await eager.read() == b"hi"
    reading = asyncio.create_task(eager.read())
    await asyncio.sleep(0)
    eager.feed(b"!!")
    assert await reading == b"!!" and flow.calls == []


@pytest.mark.parametrize("error", [ClientGone(), Refused(REQUEST_TIMEOUT)])
async def test_a_failed_body_never_ends_well(error: Exception) -> None:
    failing = body(length=10)
    failing.feed(b"hello")
    failing.fail(error)
    failing.fail(ClientGone())
    with pytest.raises(type(error)):
        await failing.read()
    assert failing.error is error and failing.whole() is None


async def test_bounds_hold_for_chunked_and_inspected_bodies() -> None:
    endless = body(chunked=True)
    for _ in range(30):
        endless.feed(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")
    with pytest.raises(Refused) as refused:
        await endless.read()
    assert refused.value.refusal.status == 413
    announced = body(length=100)
    with pytest.raises(Refused):
        await announced.read_all(50)
    silent = body(chunked=True)
    silent.feed(b"40\r\n" + b"x" * 64 + b"\r\n0\r\n\r\n")
    with pytest.raises(Refused):
        await silent.read_all(50)
    assert (await silent.read(), await silent.read()) == (b"x" * 64, b"")


@pytest.mark.parametrize("size", [1, HIGH_WATER, HIGH_WATER + 1, 3 * HIGH_WATER])
async def test_a_body_that_was_too_long_to_be_read_whole_still_streams(size: int) -> None:
    flow, room = Flow(), Room(4 * HIGH_WATER)
    long = RequestBody(flow, None, True, 1_000_000, False, room)
    sent = bytes(range(251)) * (size // 251 + 1)
    reading = asyncio.create_task(long.read_all(size, TOO_LARGE_TO_CHECK))
    await asyncio.sleep(0)
    for at in range(0, len(sent), 50_000):
        piece = sent[at : at + 50_000]
        long.feed(b"%x\r\n%b\r\n" % (len(piece), piece))
        await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await reading
    assert refused.value.refusal is TOO_LARGE_TO_CHECK
    long.feed(b"4\r\nmore\r\n")
    assert flow.calls == (["hold"] if len(sent) > HIGH_WATER else [])
    long.feed(b"0\r\n\r\n")
    pieces = []
    while piece := await long.read():
        pieces.append(piece)
        assert room.free >= min(sum(map(len, pieces)), 4 * HIGH_WATER - size), "what streams is out of the memory"
    assert b"".join(pieces) == sent + b"more"
    assert room.free == 4 * HIGH_WATER
    assert max(map(len, pieces)) <= HIGH_WATER
    assert flow.calls.count("hold") == flow.calls.count("release")


async def test_after_a_fault_nothing_is_taken_for_the_end_of_the_body() -> None:
    broken = body(chunked=True)
    assert broken.feed(b"5\r\nhello\r\nzz\r\n") is None
    assert broken.feed(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n") is None
    assert not broken.complete and isinstance(broken.error, Refused)


@pytest.mark.parametrize(("wire", "chunked"), [(b"2\r\nab\r\n" * 5000, True), (b"ab", False)])
async def test_a_body_in_tiny_pieces_takes_no_more_memory_than_one_in_large_ones(wire: bytes, chunked: bool) -> None:
    size = 400_000
    whole = body(length=None if chunked else size, chunked=chunked)
    reading = asyncio.create_task(whole.read_all(size))
    tracemalloc.start()
    try:
        while whole.received < size:
            whole.feed(wire)
            await asyncio.sleep(0)
        whole.feed(b"0\r\n\r\n" if chunked else b"")
        assert await reading == b"ab" * (size // 2)
        assert tracemalloc.get_traced_memory()[1] < 5 * size
    finally:
        tracemalloc.stop()


async def test_tiny_chunks_are_one_piece() -> None:
    streamed = body(chunked=True)
    streamed.feed(b"1\r\na\r\n" * 3 + b"1\r")
    streamed.feed(b"\nb\r\n0\r\n\r\n")
    assert [await streamed.read(), await streamed.read(), await streamed.read()] == [b"aaa", b"b", b""]
