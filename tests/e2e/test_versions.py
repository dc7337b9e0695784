"""Replicas of two versions on one store: the record before a change and the one after it work together."""

from __future__ import annotations

import msgspec

from sidecar.control.sums import Sums, decode_all
from sidecar.events.record import Request, decode, encode
from sidecar.keys import document
from sidecar.keys.record import Key, Secret

EVENT = Request(
    1.8e9, "req_1", "key_1", "sec_1", "ok", "", 200, 200, "POST", "chat", "/api/v2/chat", "m", "m", "203.0.113.7", "app/1",
    False, "complete", 0.1, 0.0, 0.0, 0.05, 0.09, 10, 20,
)  # fmt: skip


def test_an_older_replicas_event_is_filled_up() -> None:
    fields = msgspec.msgpack.decode(encode(EVENT))
    required = len(Request.__struct_fields__) - len(Request.__struct_defaults__) + 1
    older = msgspec.msgpack.encode(fields[:required])
    assert decode(older) == EVENT


def test_a_newer_replicas_event_is_understood_as_far_as_it_is_known() -> None:
    newer = msgspec.msgpack.encode([*msgspec.msgpack.decode(encode(EVENT)), "a field of the next version", {"x": 1}])
    assert decode(newer) == EVENT
    unknown_kind = msgspec.msgpack.encode(["z", 1, 2])
    sums = Sums()
    sums.add(decode_all([newer, unknown_kind, encode(EVENT)]))
    assert sum(row.requests for row in sums.rows) == 2


def test_a_newer_replicas_key_is_served_and_keeps_what_is_not_known_here() -> None:
    key = Key("key_1", "app", 1.0, secrets=(Secret("sec_1", "d", "p", "h", 1.0),))
    newer = msgspec.json.decode(document.encode(key, None)) | {"budget": {"usd": 5}}
    newer["secrets"][0]["attested"] = True
    stored = msgspec.json.encode(newer)
    assert document.decode(stored) == key
    changed = msgspec.structs.replace(document.decode(stored), name="renamed", revision=2)
    rewritten = msgspec.json.decode(document.encode(changed, stored))
    assert rewritten["budget"] == {"usd": 5} and rewritten["secrets"][0]["attested"] is True and rewritten["name"] == "renamed"


def test_an_older_replicas_key_is_filled_up() -> None:
    older = b'{"id":"key_1","name":"app","created_at":1.0}'
    assert document.decode(older) == Key("key_1", "app", 1.0)
