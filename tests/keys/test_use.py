from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.keys.use import SecretUse, Use, parse, read_uses
from sidecar.store import names
from sidecar.store.client import Store

READABLE: dict[str, Any] = {"sec_1": [5.0, 2, ["10.0.0.0/24"], ["curl"], "of a newer version"], "": [7.0, 1, [], []]}


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (msgspec.msgpack.encode(READABLE), Use(7.0, {"sec_1": SecretUse(5.0, 2, ("10.0.0.0/24",), ("curl",))})),
        (msgspec.msgpack.encode({}), Use()),
        (b"", Use()),
        (b"x", Use()),
        (b"\xa1\xff", Use()),
        (msgspec.msgpack.encode({"sec_1": [5.0]}), Use()),
        (msgspec.msgpack.encode({"sec_1": ["soon", 2, [], []]}), Use()),
        (msgspec.msgpack.encode({"sec_1": [None, 2, [], []]}), Use()),
    ],
)
def test_what_cannot_be_read_counts_as_no_use(packed: bytes, expected: Use) -> None:
    assert parse(packed) == expected


async def test_a_note_that_cannot_be_read_hides_no_other(store: Store) -> None:
    await store.call("HSET", names.use(names.shard_of("key_a")), "key_a", "damaged")
    await store.call("HSET", names.use(names.shard_of("key_b")), "key_b", msgspec.msgpack.encode(READABLE))
    uses = await read_uses(store, ["key_a", "key_b", "key_c"])
    assert uses["key_a"] == Use()
    assert uses["key_b"].last_used_at == 7.0
    assert "key_c" not in uses
