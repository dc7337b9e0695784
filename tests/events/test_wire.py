"""Records: what goes in comes out, whatever it is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sidecar.events.record import Interim, Request, Tokens, Traits, traits_of
from sidecar.events.wire import HEAD, HEAD_SIZE, MARK, decode, decode_all, encode
from tests.control.support.events import key_id, request, state

counts = st.integers(0, (1 << 63) - 1)
seconds = st.floats(0, 1e9)
words = st.text(max_size=20)
requests = st.builds(
    Request,
    time=seconds, request_id=words, key_id=words, secret_id=words, outcome=words, reason=words, status=counts, hub_status=counts,
    method=words, route=words, path=st.text(max_size=300), model=words, model_served=words, client=words, agent=words,
    streaming=st.booleans(), ending=words, total=seconds, auth=seconds, queue=seconds, first_byte=seconds, hub_time=seconds,
    bytes_in=counts, bytes_out=counts, tokens=st.builds(Tokens, counts, counts, counts, counts, seconds, counts), usage_source=words,
    interim_in=counts, interim_out=counts, shadow=words, trace_id=words, span_id=words, secret_state=words, quota_period=words, error=words,
)  # fmt: skip


@given(requests)
def test_a_request_comes_back_as_it_was(event: Request) -> None:
    record = encode(event)
    assert record[0] == MARK
    assert decode(record) == event


@given(requests)
def test_traits_lie_as_they_are_declared(event: Request) -> None:
    record = encode(event)
    length = HEAD.unpack_from(record)[2]
    assert msgspec.msgpack.decode(record[HEAD_SIZE : HEAD_SIZE + length], type=Traits) == traits_of(event)


def test_requests_that_differ_in_figures_and_ids_alone_share_their_traits() -> None:
    one = request(key_id(1))
    other = request(key_id(1), time=5.0, total=9.0, bytes_out=7, trace_id="ab" * 16, tokens=Tokens(9, 9))
    assert len({encode(event)[HEAD_SIZE : HEAD_SIZE + HEAD.unpack_from(encode(event))[2]] for event in (one, other)}) == 1


@pytest.mark.parametrize("odd", [{"bytes_in": -1}, {"bytes_out": 1 << 63, "interim_in": -5}, {"path": "x" * 70_000}])
def test_what_fits_no_place_is_written_all_the_same(odd: dict[str, object]) -> None:
    event = structs.replace(request(key_id(1)), **odd)
    assert decode(encode(event)) == event


@pytest.mark.parametrize("event", [state(), Interim(1.0, "req_1", "key_1", 2, 3)])
def test_other_events_are_messagepack(event: Interim) -> None:
    assert encode(event) == msgspec.msgpack.encode(event)
    assert decode(encode(event)) == event


def test_a_record_that_is_cut_short_is_none() -> None:
    record = encode(request(key_id(1)))
    for end in range(len(record)):
        with pytest.raises(msgspec.MsgspecError):
            decode(record[:end])
    with pytest.raises(msgspec.MsgspecError, match="lacks figures"):
        decode(record[:1] + bytes([HEAD_SIZE - 8]) + record[2:])


def test_what_cannot_be_read_is_passed_over() -> None:
    events = [request(), state()]
    records = [encode(events[0]), b"\xc1", b"", encode(events[1]), b"\x92\xa1z\x01"]
    assert decode_all(records) == events
