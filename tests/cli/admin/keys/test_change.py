from __future__ import annotations

import json

import pytest

from tests.cli.admin.conftest import Cli, make_key
from tests.support.fake_admin import FakeAdmin, refusal

ID = "key_0123456789abcdef"


@pytest.fixture(autouse=True)
def _answers(admin: FakeAdmin) -> None:
    admin.on("GET", f"/keys/{ID}", {"key": make_key()})
    admin.on("PATCH", f"/keys/{ID}", {"key": make_key(revision=4)})
    admin.on("POST", f"/keys/{ID}/(revoke|enable|disable|secrets/sec_1/revoke)", {"key": make_key(status="revoked")})


def test_update_sends_what_changes_and_the_revision_it_saw(cli: Cli, admin: FakeAdmin) -> None:
    result = cli("keys", "update", ID, "--rpm", "5")
    assert admin.calls[-1].json == {"limits": {"rpm": 5}, "revision": 3}
    assert result.out == f"Updated the key shop ({ID}); it is active, revision 4.\n"


def test_update_takes_an_older_revision(cli: Cli, admin: FakeAdmin) -> None:
    cli("keys", "update", ID, "--owner", "x", "--revision", "2")
    assert admin.calls[-1].json["revision"] == 2


def test_a_conflict_is_the_api_s_sentence(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("PATCH", f"/keys/{ID}", refusal(409, "conflict", "The object has changed."))
    result = cli("keys", "update", ID, "--owner", "x")
    assert (result.code, result.out, result.err) == (1, "", "The object has changed.\n")


def test_update_of_nothing_is_wrong_use(cli: Cli) -> None:
    assert cli("keys", "update", ID).code == 2


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_revoke_asks_at_a_terminal(cli: Cli, admin: FakeAdmin, answer: str, code: int) -> None:
    result = cli("keys", "revoke", ID, stdin=answer, tty=True)
    assert result.code == code
    assert "This is final" in result.err
    assert any(call.path.endswith("/revoke") for call in admin.calls) == (code == 0)


@pytest.mark.parametrize("words", [("--yes",), ("--json",)])
def test_revoke_does_not_ask_when_told_so(cli: Cli, admin: FakeAdmin, words: tuple[str, ...]) -> None:
    result = cli("keys", "revoke", ID, *words, tty=True)
    assert (result.code, result.err) == (0, "")
    assert admin.calls[-1].path == f"/admin/v1/keys/{ID}/revoke"


def test_revoke_in_a_script(cli: Cli, admin: FakeAdmin) -> None:
    result = cli("keys", "revoke", ID, "--reason", "leaked", "--json")
    assert admin.calls[-1].json == {"reason": "leaked"}
    assert json.loads(result.out)["key"]["status"] == "revoked"


def test_one_secret_can_be_revoked(cli: Cli, admin: FakeAdmin) -> None:
    assert cli("keys", "revoke", ID, "--secret", "sec_1").code == 0
    assert admin.calls[-1].path == f"/admin/v1/keys/{ID}/secrets/sec_1/revoke"


def test_a_secret_that_the_key_has_not_is_no_path_of_the_api(cli: Cli) -> None:
    result = cli("keys", "revoke", ID, "--secret", "sec_9")
    assert (result.code, result.err) == (1, f"the key has no secret of this id; `sidecar keys show {ID}` lists them.\n")


@pytest.mark.parametrize("secret", ["", " "])
def test_an_empty_secret_does_not_mean_the_whole_key(cli: Cli, admin: FakeAdmin, secret: str) -> None:
    result = cli("keys", "revoke", ID, "--secret", secret, "--yes")
    assert (result.code, result.err) == (2, "--secret: give the id of a secret; `sidecar keys show KEY` lists them.\n")
    assert admin.calls == []


@pytest.mark.parametrize("act", ["enable", "disable"])
def test_switches(cli: Cli, admin: FakeAdmin, act: str) -> None:
    assert cli("keys", act, ID).code == 0
    assert admin.calls[-1].path == f"/admin/v1/keys/{ID}/{act}"
