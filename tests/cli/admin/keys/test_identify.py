from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import cast

import pytest

from sidecar.cli.admin.keys import identify
from sidecar.cli.admin.session import Session
from sidecar.cli.errors import CommandError
from tests.cli.admin.conftest import Cli, make_key
from tests.support.fake_admin import FakeAdmin

SECRET = {"id": "sec_1", "state": "current", "created_at": "2026-11-01T00:00:00Z", "expires_at": None, "last_used_at": None}


@pytest.fixture(autouse=True)
def _answers(admin: FakeAdmin) -> None:
    admin.on("POST", "/keys/identify", {"key": make_key(), "secret": SECRET, "valid": True})


def test_the_token_comes_from_standard_input(cli: Cli, admin: FakeAdmin) -> None:
    result = cli("keys", "identify", stdin="ahk_leaked\n")
    assert admin.calls[0].json == {"token": "ahk_leaked"}
    assert "shop (key_0123456789abcdef)" in result.out
    assert "Still works  yes" in result.out
    assert "ahk_leaked" not in result.out + result.err


def test_a_token_may_be_pasted_with_the_scheme_of_its_header(cli: Cli, admin: FakeAdmin) -> None:
    cli("keys", "identify", stdin=" bearer ahk_leaked \n")
    assert admin.calls[0].json == {"token": "ahk_leaked"}


def test_a_current_secret_ends_by_a_rotation_at_once(cli: Cli) -> None:
    said = cli("keys", "identify", stdin="t").out
    assert "To end it: sidecar keys rotate key_0123456789abcdef --grace 0s, or sidecar keys revoke key_0123456789abcdef\n" in said


def test_a_retiring_secret_is_ended_alone(cli: Cli, admin: FakeAdmin) -> None:
    """Its successor is good: the advice must not be what takes that away."""
    admin.on("POST", "/keys/identify", {"key": make_key(), "secret": SECRET | {"state": "retiring"}, "valid": True})
    said = cli("keys", "identify", stdin="t").out
    assert "To end it: sidecar keys revoke key_0123456789abcdef --secret sec_1\n" in said
    assert "rotate" not in said


def test_of_a_secret_that_is_dead_nothing_is_to_be_ended(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("POST", "/keys/identify", {"key": make_key(), "secret": SECRET | {"state": "revoked"}, "valid": False})
    assert "To end it" not in cli("keys", "identify", stdin="t").out


def test_json(cli: Cli) -> None:
    assert json.loads(cli("keys", "identify", "--json", stdin="t").out)["valid"] is True


def test_no_token_is_wrong_use(cli: Cli, admin: FakeAdmin) -> None:
    assert cli("keys", "identify", stdin="\n").code == 2
    assert admin.calls == []


def test_an_argument_is_not_taken(cli: Cli) -> None:
    with pytest.raises(SystemExit):
        cli("keys", "identify", "ahk_leaked")


def test_the_end_of_input_at_the_question_is_no_token(cli: Cli, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(prompt: str, stream: object) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", end)
    result = cli("keys", "identify", tty=True)
    assert (result.code, admin.calls) == (2, [])
    assert "no token" in result.err


def test_what_is_no_text_is_said_to_be_none() -> None:
    stdin = io.TextIOWrapper(io.BytesIO("ahk_leaked".encode("utf-16")), "utf-8")
    with pytest.raises(CommandError, match="not text in UTF-8"):
        identify._token(cast(Session, SimpleNamespace(stdin=stdin)))
