from __future__ import annotations

import json
import shlex
import socket
from typing import Any

import pytest

from tests.cli.admin.conftest import Cli, make_key
from tests.support.fake_admin import FakeAdmin
from tests.support.ports import free_port

SECRET = "ahk_" + "A" * 43 + "000000"


@pytest.fixture(autouse=True)
def _answers(admin: FakeAdmin) -> None:
    admin.on("POST", "/keys", {"key": make_key(), "secret": SECRET})
    admin.on("GET", "/keys/key_0123456789abcdef", {"key": make_key()})
    old = {
        "id": "sec_1",
        "state": "retiring",
        "created_at": "2026-11-01T00:00:00Z",
        "expires_at": "2026-11-25T12:00:00Z",
        "last_used_at": None,
    }
    admin.on("POST", "/keys/key_0123456789abcdef/rotate", {"key": make_key(secrets=[old]), "secret": SECRET})


def test_json_is_the_api_s_document_and_nothing_else(cli: Cli) -> None:
    result = cli("keys", "create", "--name", "shop", "--json")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == {"key": make_key(), "secret": SECRET}


def test_the_secret_is_shown_once_with_a_warning_and_a_curl_that_works(cli: Cli) -> None:
    result = cli("keys", "create", "--name", "shop", environment={"SIDECAR_PROXY_URL": "http://127.0.0.1:9000/"})
    assert "cannot be shown again" in result.out
    line = next(line for line in result.out.splitlines() if "curl" in line)
    words = shlex.split(line.removeprefix("Try it:"))
    assert words[:3] == ["curl", "-sS", "http://127.0.0.1:9000/api/v1/chat/completions"]
    assert f"Authorization: Bearer {SECRET}" in words
    assert json.loads(words[words.index("-d") + 1])["model"] == "aignehub/gpt-3.5-turbo"


def test_the_call_goes_where_the_configuration_of_this_sidecar_says(cli: Cli, admin: FakeAdmin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        listen = {"SIDECAR_ADMIN__LISTEN": admin.url.removeprefix("http://"), "SIDECAR_PROXY__LISTEN": f"0.0.0.0:{port}"}
        assert f"curl -sS http://127.0.0.1:{port}/api/v1/" in cli("keys", "create", "--name", "shop", environment=listen).out
        listen["SIDECAR_HUB__PROFILE"] = "openai"
        assert f"curl -sS http://127.0.0.1:{port}/v1/chat/" in cli("keys", "create", "--name", "shop", environment=listen).out


def test_a_new_secret_is_not_aimed_at_an_address_where_nobody_listens(cli: Cli, admin: FakeAdmin) -> None:
    """As with `sidecar authz`, which leaves that of the data plane alone."""
    listen = {"SIDECAR_ADMIN__LISTEN": admin.url.removeprefix("http://"), "SIDECAR_PROXY__LISTEN": f"127.0.0.1:{free_port()}"}
    result = cli("keys", "create", "--name", "shop", environment=listen)
    assert "curl" not in result.out and "SIDECAR_PROXY_URL" in result.out


def test_each_secret_that_is_still_valid_can_be_ended_by_its_own_command(cli: Cli, admin: FakeAdmin) -> None:
    old = [
        {
            "id": f"sec_{number}",
            "state": "retiring",
            "created_at": "2026-11-01T00:00:00Z",
            "expires_at": "2026-11-25T12:00:00Z",
            "last_used_at": None,
        }
        for number in (3, 2, 1)
    ]
    admin.on("POST", "/keys/key_0123456789abcdef/rotate", {"key": make_key(secrets=old), "secret": SECRET})
    said = cli("keys", "rotate", "key_0123456789abcdef").out.splitlines()
    ends = [line.split()[-1] for line in said if line.startswith("To end it now:")]
    assert ends == [line.split()[3] for line in said if line.startswith("The old secret ")] == ["sec_3", "sec_2", "sec_1"]


def test_a_new_secret_is_not_aimed_at_an_address_that_is_only_guessed(cli: Cli) -> None:
    result = cli("keys", "create", "--name", "shop")
    assert "curl" not in result.out
    assert "SIDECAR_PROXY_URL" in result.out


def test_a_key_that_is_over_before_it_begins_says_so(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("POST", "/keys", {"key": make_key(expires_at="2020-01-01T00:00:00Z"), "secret": SECRET})
    said = cli("keys", "create", "--name", "shop", "--expires", "2020-01-01").out.splitlines()[0]
    assert "has expired already, 2020-01-01 00:00:00 UTC (6 y ago)" in said
    assert "sidecar keys update key_0123456789abcdef --expires" in said


def test_fields_and_idempotency_key_are_sent(cli: Cli, admin: FakeAdmin) -> None:
    cli("keys", "create", "--name", "shop", "--rpm", "60", "--idempotency-key", "deploy-7", "--json")
    assert admin.calls[0].json == {"name": "shop", "limits": {"rpm": 60}}
    assert admin.calls[0].headers["idempotency-key"] == "deploy-7"


def test_a_create_that_may_be_repeated_expires_at_the_same_moment_each_time(cli: Cli, admin: FakeAdmin) -> None:
    result = cli("keys", "create", "--name", "shop", "--expires", "90d", "--idempotency-key", "deploy-7")
    assert (result.code, admin.calls) == (2, [])
    assert "give a date and time" in result.err
    assert cli("keys", "create", "--name", "shop", "--expires", "2027-01-31", "--idempotency-key", "deploy-7").code == 0


def test_a_repeated_create_has_no_secret_to_show(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("POST", "/keys", {"key": make_key(), "secret": None})
    result = cli("keys", "create", "--name", "shop", "--idempotency-key", "deploy-7")
    assert result.code == 0
    assert "shown only once; rotate the key" in result.out


def test_rotate_says_how_long_the_old_secret_lives_and_how_to_end_it(cli: Cli, admin: FakeAdmin) -> None:
    result = cli("keys", "rotate", "key_0123456789abcdef", "--grace", "24h")
    assert admin.calls[-1].json == {"grace_period": "24h"}
    assert "valid until 2026-11-25 12:00:00 UTC (in 1 d)" in result.out
    assert "sidecar keys revoke key_0123456789abcdef --secret sec_1" in result.out
    assert SECRET in result.out


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ({"status": "disabled"}, "But it is disabled: calls are refused until you `sidecar keys enable key_0123456789abcdef`."),
        ({"status": "expired", "expires_at": "2026-11-24T00:00:00Z"}, "But it has expired already, 2026-11-24 00:00:00 UTC (12 h ago)"),
        ({"expires_at": "2026-11-24T18:00:00Z"}, "The old secret sec_1 is valid until 2026-11-24 18:00:00 UTC (in 6 h)."),
    ],
)
def test_rotate_does_not_promise_what_the_key_does_not_keep(cli: Cli, admin: FakeAdmin, key: dict[str, Any], told: str) -> None:
    old = {"id": "sec_1", "state": "retiring", "created_at": "2026-11-01T00:00:00Z", "expires_at": "2026-11-25T12:00:00Z"}
    admin.on("POST", "/keys/key_0123456789abcdef/rotate", {"key": make_key(secrets=[old], **key), "secret": SECRET})
    said = cli("keys", "rotate", "key_0123456789abcdef").out
    assert told in said and SECRET in said


def test_a_grace_that_is_no_duration_is_wrong_use_and_rotates_nothing(cli: Cli, admin: FakeAdmin) -> None:
    assert cli("keys", "rotate", "key_0123456789abcdef", "--grace", "tomorrow").code == 2
    assert admin.calls == []
