"""The file with the first admin token, and what is noted beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.keys.first_token import FirstToken
from sidecar.keys.token import is_well_formed


def test_it_is_made_once_and_renewed_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "data" / "admin-token"
    first = FirstToken(file, "sat")
    assert first.read() == b""
    token = first.read_or_make()
    assert is_well_formed(token, "sat")
    assert first.read_or_make() == first.read() == file.read_bytes() == token
    assert first.renew() == file.read_bytes() != token
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"\n", b"a text", b"\xff", b"ahk_" + b"0" * 49])
def test_what_is_no_token_makes_way_for_one(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "admin-token"
    file.write_bytes(content)
    token = FirstToken(file, "sat").read_or_make()
    assert is_well_formed(token, "sat")
    assert file.read_bytes() == token


def test_what_was_revoked_is_remembered_for_good_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "admin-token"
    first = FirstToken(file, "sat")
    tokens = [first.read_or_make(), first.renew(), first.renew()]
    for token in tokens[:2]:
        assert not first.is_revoked(token)
        first.note_revoked(token)
        first.note_revoked(token)
    beside = tmp_path / "admin-token.revoked"
    assert [FirstToken(file, "sat").is_revoked(token) for token in tokens] == [True, True, False]
    assert beside.stat().st_mode & 0o777 == 0o600
    assert len(beside.read_bytes().split()) == 2
    assert not any(token in beside.read_bytes() for token in tokens)
