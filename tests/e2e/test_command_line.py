"""The commands of the admin API against a real sidecar, as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar, wait_until


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("sidecar")
    with hub_process() as hub, Sidecar(folder, hub.url, ACCESS_KEY, keys__accept_imported="true") as running:
        yield running


@dataclass
class Cli:
    """`python -m sidecar …` with the address in the environment and the token from the data directory."""

    sidecar: Sidecar

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        environment = {**self.sidecar.environment, "SIDECAR_ADMIN_URL": self.sidecar.admin_url}
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *words], env=environment, input=stdin, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout if code == 0 or done.stdout else done.stderr

    def json(self, *words: str, **options: Any) -> Any:
        return json.loads(self(*words, "--json", **options))


@pytest.fixture
def cli(sidecar: Sidecar) -> Cli:
    return Cli(sidecar)


def test_a_key_from_creation_to_revocation(cli: Cli, sidecar: Sidecar) -> None:
    made = cli.json("keys", "create", "--name", "life", "--owner", "ops", "--rpm", "600", "--expires", "90d", "--metadata", "a=b")
    assert set(made) == {"key", "secret"}
    assert sidecar.ask(made["secret"]).status == 200
    assert [key["id"] for key in cli.json("keys", "list", "life")["data"]] == [made["key"]["id"]]
    changed = cli.json(
        "keys", "update", "life", "--tpm", "900000", "--rpm", "none", "--quota-tokens", "900000", "--allow-model", "openai/gpt-5-mini"
    )
    assert (changed["key"]["limits"]["rpm"], changed["key"]["limits"]["tpm"]) == (None, 900000)
    assert cli.json("keys", "update", "life", "--quota-period", "day")["key"]["quota"]["tokens"] == 900000
    rotated = cli.json("keys", "rotate", "life", "--grace", "1h")
    assert rotated["key"]["id"] == made["key"]["id"]
    assert sidecar.ask(rotated["secret"]).status == sidecar.ask(made["secret"]).status == 200
    shown = wait_until(lambda: _with_old_use(cli.json("keys", "show", "life")))
    assert shown["safe_to_retire"]["safe"] is False
    old = next(secret for secret in shown["secrets"] if secret["state"] == "retiring")
    cli("keys", "revoke", "life", "--secret", old["id"])
    wait_until(lambda: sidecar.ask(made["secret"]).code == "api_key_rotated", within=2)
    cli("keys", "disable", "life")
    wait_until(lambda: sidecar.ask(rotated["secret"]).code == "api_key_disabled", within=2)
    cli("keys", "enable", "life")
    wait_until(lambda: sidecar.ask(rotated["secret"]).status == 200)
    assert cli.json("keys", "identify", stdin=rotated["secret"])["key"]["id"] == made["key"]["id"]
    assert cli.json("keys", "revoke", "life", "--reason", "end")["key"]["status"] == "revoked"
    wait_until(lambda: sidecar.ask(rotated["secret"]).code == "api_key_revoked", within=2)
    assert "revoked, which is final" in cli("keys", "enable", made["key"]["id"], code=1)


def _with_old_use(shown: dict[str, Any]) -> dict[str, Any] | None:
    """`shown` once each secret's use is folded: two requests with the old one, of which the second came after the rotation."""
    return shown if sorted(secret["requests"] for secret in shown["secrets"]) == [1, 2] else None


def test_use_is_shown(cli: Cli, sidecar: Sidecar) -> None:
    key_id, secret = sidecar.create_key(name="used")
    for _ in range(3):
        assert sidecar.ask(secret).status == 200
    totals = wait_until(lambda: _after(3, cli.json("usage", "used")["totals"]))
    assert totals["input_tokens"] > 0
    grouped = cli.json("usage", "--group-by", "key", "--from", "1h")
    assert next(group for group in grouped["groups"] if group["by"] == key_id)["totals"]["requests"] == 3
    assert key_id in cli("usage", "--group-by", "key", "--csv")
    assert "used" in cli("top")
    assert cli.json("top")["usage"]["totals"]["requests"] >= 3


def _after(requests: int, totals: dict[str, Any]) -> dict[str, Any] | None:
    return totals if totals["requests"] == requests else None


def test_imported_tokens_open_their_key(cli: Cli, sidecar: Sidecar, tmp_path: Path) -> None:
    lines = [json.dumps({"name": f"old-{number}", "token": f"sk-old-{number}"}) for number in range(450)]
    lines.insert(7, json.dumps({"name": "bad", "sha256": "xyz"}))
    (tmp_path / "keys.jsonl").write_text("\n".join(lines))
    report = cli.json("keys", "import", str(tmp_path / "keys.jsonl"), code=1)
    assert (report["imported"], report["refused"], report["lines"][7]["line"]) == (450, 1, 8)
    assert report["lines"][7]["error"].startswith("sha256:")
    assert sidecar.ask("sk-old-449").status == 200
    exported = [json.loads(line) for line in cli("keys", "export", "old-").splitlines()]
    assert {key["name"] for key in exported} == {f"old-{number}" for number in range(450)}
    assert "sk-old" not in json.dumps(exported)


def test_everything_is_in_the_audit_log_and_the_log_is_whole(cli: Cli, tmp_path: Path) -> None:
    key = cli.json("keys", "create", "--name", "audited")["key"]
    events = cli.json("audit", "list", "--target", key["id"])["data"]
    assert [event["action"] for event in events] == ["api_key.created"]
    assert cli.json("audit", "verify")["ok"] is True
    (tmp_path / "export.jsonl").write_text(cli("audit", "export"))
    assert cli.json("audit", "verify", "--file", str(tmp_path / "export.jsonl"))["ok"] is True
    (tmp_path / "export.jsonl").write_text(cli("audit", "export").replace("audited", "forged"))
    assert cli.json("audit", "verify", "--file", str(tmp_path / "export.jsonl"), code=1)["ok"] is False


def test_roles(cli: Cli, sidecar: Sidecar, tmp_path: Path) -> None:
    made = cli.json("admin-tokens", "create", "--name", "reader", "--role", "viewer")
    (tmp_path / "token").write_text(made["token"])
    cli("keys", "list", "--admin-token-file", str(tmp_path / "token"))
    assert "role" in cli("keys", "create", "--name", "x", "--admin-token-file", str(tmp_path / "token"), code=1)
    cli("admin-tokens", "revoke", "reader")
    assert "not valid" in cli("keys", "list", "--admin-token-file", str(tmp_path / "token"), code=1)


def test_a_wrong_use_is_one_sentence_and_2(cli: Cli) -> None:
    assert "unknown command" in cli("keys", "explode", code=2)
    assert "is not the address" in cli("keys", "list", "--admin-url", "ftp://x", code=2)
