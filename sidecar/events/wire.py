"""How events lie in the spool and in the call log.

A finished request has three parts there: a head with its figures at fixed places, its traits, and its ids. Requests
of one application have their traits in common, byte for byte. So whoever adds requests up decodes traits once, and
figures with one call (docs/decisions/0013). All other events are MessagePack, which never begins with MARK; requests
were MessagePack too before there were heads, and are read as such for as long as call logs may hold some.

A later version may append figures, traits and ids: the head says how long it is, and the rest are arrays.
"""

from __future__ import annotations

import struct
from typing import TypeAlias, cast

import msgspec
from msgspec.structs import astuple

from sidecar.events.record import Event, Ids, Request, Tokens, Traits

MARK = 0xC1
"""The one byte that MessagePack leaves unused."""
HEAD = struct.Struct("<BBH6d6Qd3Q")
"""MARK, length of the head, length of the traits, and then the figures, in the order of Head."""
HEAD_SIZE = HEAD.size

Head: TypeAlias = tuple[
    int, int, int, float, float, float, float, float, float, int, int, int, int, int, int, float, int, int, int
]  # fmt: skip
"""What HEAD unpacks: MARK and both lengths; time, total, auth, queue, first_byte, hub_time; bytes_in, bytes_out;
tokens as `Tokens` has them; interim_in, interim_out. Units are those of Request."""

unpack_head = HEAD.unpack_from

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode
decode_traits = msgspec.msgpack.Decoder(Traits).decode
decode_ids = msgspec.msgpack.Decoder(Ids).decode


def encode(event: Event) -> bytes:
    """The record of an event."""
    if type(event) is not Request:
        return _encode(event)
    # All of it in one step: compiled code reaches a msgspec struct's fields slowly.
    (
        time, request_id, key_id, secret_id, outcome, reason, status, hub_status, method, route, path, model, model_served, client, agent,
        streaming, ending, total, auth, queue, first_byte, hub_time, bytes_in, bytes_out, tokens, usage_source, interim_in, interim_out,
        shadow, trace_id, span_id, secret_state, quota_period, error, version,
    ) = astuple(event)  # fmt: skip
    traits = (
        key_id, secret_id, outcome, reason, status, hub_status, method, route, path, model, model_served, client, agent,
        streaming, ending, usage_source, shadow, secret_state, quota_period, error, version,
    )  # fmt: skip
    try:
        return joined(
            traits, (request_id, trace_id, span_id), time, total, auth, queue, first_byte, hub_time,
            bytes_in, bytes_out, tokens, interim_in, interim_out,
        )  # fmt: skip
    except struct.error:
        # A figure that no place is wide enough for must not cost the event.
        return _encode(event)


def joined(
    traits: tuple[str | int, ...],
    ids: tuple[str, str, str],
    time: float,
    total: float,
    auth: float,
    queue: float,
    first_byte: float,
    hub_time: float,
    bytes_in: int,
    bytes_out: int,
    tokens: Tokens,
    interim_in: int,
    interim_out: int,
) -> bytes:
    """The record of a request from its Traits, its Ids and its figures; raises struct.error when one is too large for its place."""
    shared = _encode(traits)
    read, written, cached, created, credits, images = astuple(tokens)
    head = HEAD.pack(
        MARK, HEAD_SIZE, len(shared), time, total, auth, queue, first_byte, hub_time, bytes_in, bytes_out,
        read, written, cached, created, credits, images, interim_in, interim_out,
    )  # fmt: skip
    return head + shared + _encode(ids)


def decode(record: bytes) -> Event:
    """The event of a record; raises msgspec.MsgspecError or UnicodeDecodeError when it is none that is known here."""
    if record[:1] != b"\xc1":
        event: Event = _decode(record)
        return event
    if len(record) < HEAD_SIZE:
        raise msgspec.DecodeError("the head of a request is cut short")
    (
        _, size, length, time, total, auth, queue, first_byte, hub_time, bytes_in, bytes_out,
        read, written, cached, created, credits, images, interim_in, interim_out,
    ) = cast(Head, unpack_head(record))  # fmt: skip
    if size < HEAD_SIZE:
        raise msgspec.DecodeError("the head of a request lacks figures")
    end = size + length
    (
        key_id, secret_id, outcome, reason, status, hub_status, method, route, path, model, model_served, client, agent,
        streaming, ending, usage_source, shadow, secret_state, quota_period, error, version,
    ) = astuple(decode_traits(record[size:end]))  # fmt: skip
    request_id, trace_id, span_id = astuple(decode_ids(record[end:]))
    return Request(
        time, request_id, key_id, secret_id, outcome, reason, status, hub_status, method, route, path, model, model_served, client, agent,
        streaming, ending, total, auth, queue, first_byte, hub_time, bytes_in, bytes_out,
        Tokens(read, written, cached, created, credits, images), usage_source, interim_in, interim_out,
        shadow, trace_id, span_id, secret_state, quota_period, error, version,
    )  # fmt: skip


def decode_all(records: list[bytes]) -> list[Event]:
    """Every event that can be read; a kind that this version does not know is passed over."""
    events = []
    for record in records:
        try:
            events.append(decode(record))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return events
