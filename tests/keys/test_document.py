"""Records across versions of the program."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.keys import document
from sidecar.keys.record import RECORD_VERSION, Key, Limits, Quota, Secret
from sidecar.store.client import StoreUnavailable

KEY = Key(
    id="key_1",
    name="app",
    created_at=1.5,
    owner="team",
    secrets=(Secret("sec_1", "d1", "p", "ahk_…1", 1.0), Secret("sec_2", "d2", "p", "ahk_…2", 0.5, "retiring", 9.0)),
    limits=Limits(rpm=5),
    quota=Quota(tokens=10),
    allowed_models=(),
)


def add(record: bytes, **unknown: object) -> bytes:
    parsed = msgspec.json.decode(record)
    for part in (parsed, parsed["limits"], parsed["quota"], *parsed["secrets"]):
        part.update(unknown)
    return msgspec.json.encode(parsed)


def test_a_record_is_read_as_it_was_written() -> None:
    assert document.decode(document.encode(KEY, None)) == KEY


@given(st.dictionaries(st.sampled_from(["colour", "next_thing", "z"]), st.integers() | st.text() | st.none(), max_size=3))
def test_what_a_newer_version_added_survives_a_change(unknown: dict[str, object]) -> None:
    stored = add(document.encode(KEY, None), **unknown)
    assert document.decode(stored) == KEY
    changed = replace(KEY, name="other", owner="", limits=Limits(), secrets=(Secret("sec_3", "d3", "p", "h", 2.0), *KEY.secrets))
    record = msgspec.json.decode(document.encode(changed, stored))
    for part in (record, record.get("limits", unknown), record["quota"], *record["secrets"][1:]):
        assert unknown.items() <= part.items()
    assert document.decode(msgspec.json.encode(record)) == changed
    assert "owner" not in record, "what this version knows is not taken from the old record"


def test_a_removed_quota_takes_its_unknown_parts_along() -> None:
    stored = add(document.encode(KEY, None), colour="red")
    assert "quota" not in msgspec.json.decode(document.encode(replace(KEY, quota=None), stored))


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"id": 5}', b"\xff"])
def test_a_damaged_record_is_an_outage_and_not_a_missing_key(record: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        document.decode(record)


def test_newer() -> None:
    assert document.is_newer(replace(KEY, version=RECORD_VERSION + 1))
    assert not document.is_newer(KEY)
