"""The benchmarks' hub answers what it is asked for, however the bytes come."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load.request import Request, chat, get, stream, upload
from benchmarks.load.wire import is_whole, raw_request
from benchmarks.upstream import LARGE, SMALL_ANSWER, HubSide


class Written(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.bytes += bytes(data)


def hub() -> tuple[HubSide, Written]:
    loop = asyncio.new_event_loop()
    loop.close()
    side, written = HubSide(loop), Written()
    side.connection_made(written)
    return side, written


REQUESTS = (get(), chat(), chat(size=5000), upload(3000))


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4), st.integers(1, 4000))
@settings(deadline=None, max_examples=60)
def test_each_request_gets_one_answer_in_pieces_of_any_size(requests: list[Request], size: int) -> None:
    side, written = hub()
    for request in requests:
        raw = raw_request(request, "key", "hub.test")
        for start in range(0, len(raw), size):
            side.data_received(raw[start : start + size])
    assert written.bytes == SMALL_ANSWER * len(requests)


def test_a_chunked_body_is_skipped() -> None:
    side, written = hub()
    side.data_received(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")
    side.data_received(b"llo\r\n0\r")
    assert written.bytes == b""
    side.data_received(b"\n\r\n")
    assert written.bytes == SMALL_ANSWER


def test_a_large_answer_has_its_size() -> None:
    side, written = hub()
    side.data_received(raw_request(chat(answer="large"), "key", "hub.test"))
    assert is_whole(written.bytes) and len(written.bytes) > LARGE


async def test_a_stream_has_its_events_with_their_times_and_ends() -> None:
    loop = asyncio.get_running_loop()
    side, written = HubSide(loop), Written()
    side.connection_made(written)
    side.data_received(raw_request(stream(3, 0.001), "key", "hub.test"))
    async with asyncio.timeout(5):
        while not is_whole(written.bytes):
            await asyncio.sleep(0.001)
    times = [float(found) for found in re.findall(rb'"sent":([0-9.]+)', written.bytes)]
    assert len(times) == 3 and times == sorted(times)
    assert b"data: [DONE]" in written.bytes and b"prompt_tokens" in written.bytes
