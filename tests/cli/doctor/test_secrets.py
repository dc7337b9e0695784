"""Files with secrets that others can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli.doctor import secrets
from sidecar.cli.doctor.check import Check, lines
from sidecar.settings import load

CANARY = "blocklet-canary"


def examine(file: Path | None, environment: dict[str, str]) -> dict[str, Check]:
    return {check.name: check for check in secrets.checks(load(file, environment), file, environment)}


def written(path: Path, text: str, mode: int) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("mode", "verdicts"), [(0o644, {"hub.access_key_file": "warn"}), (0o640, {"secrets": "ok"}), (0o600, {"secrets": "ok"})]
)
def test_a_secrets_own_file(tmp_path: Path, mode: int, verdicts: dict[str, str]) -> None:
    key = written(tmp_path / "key", CANARY, mode)
    file = written(tmp_path / "sidecar.yaml", f"hub: {{access_key_file: {key}}}", 0o644)
    for found in (examine(file, {}), examine(None, {"SIDECAR_HUB__ACCESS_KEY_FILE": str(key)})):
        assert {name: check.verdict for name, check in found.items()} == verdicts
        assert CANARY not in "".join(lines(found.values()))
        assert "secrets" in found or found["hub.access_key_file"].advice == f"run: chmod 600 {key}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"hub: {{access_key: {CANARY}}}", {"hub.access_key"}),
        (f"store: {{url: 'redis://:{CANARY}@h'}}", {"store.url"}),
        ("store: {url: 'redis://h'}", set()),
        (f"notifications: {{webhooks: ['https://hooks.example/{CANARY}']}}", {"notifications.webhooks"}),
        ("notifications: {webhooks: ['${HOOK}']}", set()),
        ("hub: {access_key: '${KEY}'}\nstore: {url: embedded}", set()),
    ],
)
def test_a_secret_in_the_configuration_file(tmp_path: Path, text: str, names: set[str]) -> None:
    file = written(tmp_path / "sidecar.yaml", text, 0o644)
    found = examine(file, {"KEY": CANARY, "HOOK": f"https://h.example/{CANARY}"})
    assert set(found) == names
    assert CANARY not in "".join(lines(found.values()))
    file.chmod(0o600)
    assert set(examine(file, {"KEY": CANARY, "HOOK": f"https://h.example/{CANARY}"})) == ({"secrets"} if names else set())


def test_what_a_variable_outranks_is_no_secret_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path / "sidecar.yaml", f"hub: {{access_key: {CANARY}}}", 0o644)
    assert examine(file, {"SIDECAR_HUB__ACCESS_KEY": "other"}) == {}


def test_private_keys_and_the_pepper_before(tmp_path: Path) -> None:
    key, pepper = written(tmp_path / "key.pem", "x", 0o644), written(tmp_path / "pepper.before", "x", 0o604)
    text = f"admin: {{tls: {{certificate_file: c, key_file: {key}}}}}\nkeys: {{previous_pepper_file: {pepper}}}"
    found = examine(written(tmp_path / "sidecar.yaml", text, 0o644), {})
    assert {name: check.verdict for name, check in found.items()} == {"admin.tls.key_file": "warn", "keys.previous_pepper_file": "warn"}


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    key = written(tmp_path / "key", "", 0o600)
    found = examine(None, {"SIDECAR_STORE__PASSWORD_FILE": str(key)})
    assert found["store.password_file"].verdict == "warn"
