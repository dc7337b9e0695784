"""What can be told of stored records that are not as expected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.store.stored import members_of


@pytest.mark.parametrize(
    ("data", "members"),
    [
        (b'{"id":7,"more":[1]}', {"id": 7, "more": [1]}),
        (b"{}", {}),
        (b"", {}),
        (b"{", {}),
        (b"[1]", {}),
        (b"null", {}),
        (b"\xff", {}),
        (b'{"a":"\xff"}', {}),
        (b"[" * 100_000, {}),
    ],
)
def test_members_of_a_record(data: bytes, members: dict[str, object]) -> None:
    assert members_of(data) == members


@given(st.binary(max_size=64))
def test_no_bytes_are_an_error(data: bytes) -> None:
    assert isinstance(members_of(data), dict)
