from __future__ import annotations

import json

import pytest

from tests.cli.admin.conftest import Cli
from tests.support.fake_admin import FakeAdmin, Reply

OBJECT = {"id": "adm_1", "name": "ci", "role": "operator", "hint": "sat_…abcd", "created_at": "2026-11-20T12:00:00Z", "last_used_at": None}


@pytest.fixture(autouse=True)
def _answers(admin: FakeAdmin) -> None:
    admin.on("GET", "/admin-tokens", {"data": [OBJECT], "next_cursor": None})
    admin.on("POST", "/admin-tokens", Reply({"admin_token": OBJECT, "token": "sat_new"}, 201))
    admin.on("DELETE", "/admin-tokens/adm_1", Reply(status=204))


def test_create(cli: Cli, admin: FakeAdmin) -> None:
    result = cli("admin-tokens", "create", "--name", "ci", "--role", "operator")
    assert admin.calls[0].json == {"name": "ci", "role": "operator"}
    assert "sat_new" in result.out
    assert "cannot be shown again" in result.out
    assert json.loads(cli("admin-tokens", "create", "--name", "ci", "--json").out)["token"] == "sat_new"


def test_list(cli: Cli) -> None:
    assert "sat_…abcd" in cli("admin-tokens", "list").out
    assert json.loads(cli("admin-tokens", "list", "--json").out) == {"data": [OBJECT]}


@pytest.mark.parametrize("word", ["adm_1", "ci"])
def test_revoke_by_id_or_name(cli: Cli, admin: FakeAdmin, word: str) -> None:
    assert cli("admin-tokens", "revoke", word).code == 0
    assert admin.calls[-1].method == "DELETE"


def test_revoke_asks_at_a_terminal(cli: Cli, admin: FakeAdmin) -> None:
    assert cli("admin-tokens", "revoke", "ci", tty=True, stdin="n\n").code == 1
    assert all(call.method != "DELETE" for call in admin.calls)


def test_revoke_of_a_stranger(cli: Cli) -> None:
    result = cli("admin-tokens", "revoke", "x")
    assert result.code == 1
    assert "no admin tokens have this id or name" in result.err


@pytest.mark.parametrize("known", [True, False])
def test_a_token_that_no_list_has_can_be_revoked_by_its_id(cli: Cli, admin: FakeAdmin, known: bool) -> None:
    token = "sat_0123456789abcdef"
    if known:
        admin.on("DELETE", f"/admin-tokens/{token}", Reply(status=204))
    result = cli("admin-tokens", "revoke", token)
    assert result.code == (0 if known else 1)
    assert ("Revoked the admin token" in result.out) is known
    assert ("no admin tokens have this id or name" in result.err) is not known


@pytest.mark.parametrize("listed", [True, False])
def test_a_token_that_is_named_like_the_id_of_another_is_not_revoked_in_its_place(cli: Cli, admin: FakeAdmin, listed: bool) -> None:
    token = "sat_0123456789abcdef"
    decoy, meant = {**OBJECT, "id": "sat_fedcba9876543210", "name": token}, {**OBJECT, "id": token}
    admin.on("GET", "/admin-tokens", {"data": [decoy, *([meant] if listed else [])], "next_cursor": None})
    admin.on("DELETE", f"/admin-tokens/{token}", Reply(status=204))
    assert cli("admin-tokens", "revoke", token, "--yes").code == 0
    assert [call.path for call in admin.calls if call.method == "DELETE"] == [f"/admin/v1/admin-tokens/{token}"]
