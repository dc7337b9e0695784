"""Digests, peppers, and which digests a token may be stored under."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.digest import LONGEST_TOKEN, Digester, Pepper, digest, imported_digest, load, load_or_create
from sidecar.keys.token import generate
from tests.support.keys import OLDER_PEPPER, PEPPER


@given(st.binary(min_size=1, max_size=200), st.binary(min_size=32, max_size=64))
def test_a_digest_depends_on_token_and_pepper(token: bytes, secret: bytes) -> None:
    pepper = Pepper.of(secret)
    assert digest(token, pepper) == digest(token, Pepper.of(secret))
    assert len(digest(token, pepper)) == 64
    assert digest(token, pepper) != digest(token + b"x", pepper)
    assert digest(token, pepper) != digest(token, Pepper.of(secret + b"x"))
    assert digest(token, pepper) not in (imported_digest(token), pepper.fingerprint)


def test_a_pepper_does_not_show_itself() -> None:
    assert "pppp" not in repr(PEPPER)
    assert PEPPER.key.hex() not in repr(PEPPER)


def test_a_pepper_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "pepper"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: load_or_create(path).id, range(8)))
    assert made == {load(path).id}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["pepper"]


def test_a_short_pepper_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_text("short\n")
    with pytest.raises(ValueError, match="openssl rand"):
        load_or_create(tmp_path / "pepper")


def test_candidates() -> None:
    token = generate("ahk").encode()
    sha256 = hashlib.sha256(token).hexdigest()
    current, older = digest(token, PEPPER), digest(token, OLDER_PEPPER)
    assert Digester("ahk", PEPPER).candidates(token) == [current]
    assert Digester("ahk", PEPPER, OLDER_PEPPER).candidates(token) == [current, older]
    assert Digester("ahk", PEPPER, OLDER_PEPPER, accept_imported=True).candidates(token) == [current, older, sha256]
    assert Digester("other", PEPPER).candidates(token) == []


@pytest.mark.parametrize("token", [b"", b"sk-foreign", b"x" * LONGEST_TOKEN])
def test_foreign_tokens_are_looked_up_only_when_imported_ones_are_accepted(token: bytes) -> None:
    assert Digester("ahk", PEPPER).candidates(token) == []
    found = Digester("ahk", PEPPER, accept_imported=True).candidates(token)
    assert found == ([digest(token, PEPPER), imported_digest(token)] if token else [])


@pytest.mark.parametrize("token", [b"x" * (LONGEST_TOKEN + 1), b"a,b", b"a b", b"\xc3\xa9", generate("sat").encode()])
def test_what_can_be_no_key_is_not_digested(token: bytes) -> None:
    """Too long, impossible to send, or an admin token: that opens no hub, whoever imports it."""
    assert Digester("ahk", PEPPER, accept_imported=True).candidates(token) == []


def test_admin_tokens_are_looked_up_among_admin_tokens() -> None:
    token = generate("sat").encode()
    assert Digester("sat", PEPPER).candidates(token) == [digest(token, PEPPER)]
