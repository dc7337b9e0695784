from __future__ import annotations

import pytest

from sidecar.keys.token import generate
from tests.cli.admin.conftest import Cli, make_key
from tests.support.fake_admin import FakeAdmin

REVOKED = make_key(id="key_revoked000000000", status="revoked")


def listed(admin: FakeAdmin, *keys: dict[str, object]) -> None:
    admin.on("GET", "/keys", {"data": list(keys), "next_cursor": None})
    for key in keys:
        admin.on("POST", f"/keys/{key['id']}/disable", {"key": key})


def test_only_the_whole_name_counts(cli: Cli, admin: FakeAdmin) -> None:
    listed(admin, make_key(name="shop-2"))
    result = cli("keys", "disable", "shop")
    assert (result.code, result.err) == (1, "there is no key named 'shop'; `sidecar keys list` shows all keys.\n")


def test_a_living_key_outranks_revoked_ones_of_its_name(cli: Cli, admin: FakeAdmin) -> None:
    listed(admin, REVOKED, make_key())
    assert "key_0123456789abcdef" in cli("keys", "disable", "shop").out


@pytest.mark.parametrize("words", [("keys", "disable", ""), ("keys", "revoke", " "), ("usage", "")])
def test_an_empty_key_is_no_key(cli: Cli, admin: FakeAdmin, words: tuple[str, ...]) -> None:
    """Least of all is it all of them, as whose use `usage` without a key gives."""
    result = cli(*words)
    assert (result.code, result.out, result.err) == (2, "", "KEY is empty; give the id or the name of a key.\n")
    assert admin.calls == []


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "revoke"),
        ("keys", "list"),
        ("keys", "export"),
        ("usage",),
        ("keys", "revoke", "shop", "--secret"),
        ("audit", "list", "--target"),
        ("audit", "export", "--target"),
        ("audit", "list", "--actor"),
    ],
)
def test_a_key_itself_is_sent_nowhere_in_an_address(cli: Cli, admin: FakeAdmin, words: tuple[str, ...]) -> None:
    key = generate("ahk")
    result = cli(*words, key)
    assert (result.code, result.out) == (2, "")
    assert "sidecar keys identify" in result.err and key[4:] not in result.err
    assert admin.calls == []


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "list", ""),
        ("keys", "list", "--owner", ""),
        ("keys", "export", "--owner", " "),
        ("audit", "list", "--target", ""),
        ("audit", "list", "--actor", ""),
        ("audit", "export", "--action", ""),
    ],
)
def test_an_empty_filter_does_not_choose_everything(
    cli: Cli, admin: FakeAdmin, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli(*words)
    assert end.value.code == 2
    assert "it is empty; give a value, or leave it out" in capsys.readouterr().err
    assert admin.calls == []


def test_two_living_keys_of_one_name_need_an_id(cli: Cli, admin: FakeAdmin) -> None:
    listed(admin, make_key(), make_key(id="key_other00000000000"))
    result = cli("keys", "disable", "shop")
    assert result.code == 1
    assert "give the id of one: key_0123456789abcdef, key_other00000000000" in result.err
