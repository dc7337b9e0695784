from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from sidecar.cli.admin.address import parse
from sidecar.cli.admin.api import AdminApi
from sidecar.cli.admin.session import Session, data_dir
from sidecar.cli.main import main
from tests.cli.admin.conftest import NOW, make_key
from tests.support.fake_admin import TOKEN, FakeAdmin


def test_the_environment_names_the_data_directory() -> None:
    assert data_dir({"SIDECAR_DATA_DIR": "/srv/sidecar"}) == Path("/srv/sidecar")


def test_then_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("data_dir: /var/lib/sidecar\n")
    assert data_dir({"SIDECAR_CONFIG": str(tmp_path / "c.yaml")}) == Path("/var/lib/sidecar")


def test_a_configuration_that_cannot_be_read_here_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sidecar.yaml").write_text("hub: {access_key: '${UNSET_HERE}'}\n")
    monkeypatch.chdir(tmp_path)
    assert data_dir({}) == Path("data")


@pytest.mark.parametrize("fault", ["hub: {access_key: '${UNSET_HERE}'}", "hub: {access_key_file: /nowhere}", "proxy: {workers: 0}", "x: 1"])
def test_what_can_be_read_of_it_holds(tmp_path: Path, fault: str) -> None:
    """The shell of an operator rarely has the sidecar's secrets."""
    (tmp_path / "c.yaml").write_text(f"data_dir: /var/lib/sidecar\n{fault}\n")
    assert data_dir({"SIDECAR_CONFIG": str(tmp_path / "c.yaml")}) == Path("/var/lib/sidecar")


@pytest.mark.parametrize("text", ["data_dir: [", "data_dir: ", "- data_dir", "data_dir: '${UNSET_HERE}'", "data_dir: {x: 1}"])
def test_of_what_cannot_be_read_the_default_holds(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert data_dir({"SIDECAR_CONFIG": str(tmp_path / "c.yaml")}) == Path("data")


def test_a_token_that_comes_by_a_pipe_does_for_every_call_of_a_command(admin: FakeAdmin) -> None:
    """As from `--admin-token-file <(vault read …)`: a name is looked up first, then something is done."""
    admin.on("GET", "/keys", {"data": [make_key()]})
    admin.on("POST", "/keys/key_0123456789abcdef/disable", {"key": make_key(status="disabled")})
    read, write = os.pipe()
    os.write(write, TOKEN.encode())
    os.close(write)
    try:
        assert main(["keys", "disable", "shop", "--admin-url", admin.url, "--admin-token-file", f"/dev/fd/{read}"]) == 0
    finally:
        os.close(read)


@pytest.mark.parametrize(
    ("typed", "yes"), [(b"y\n", True), (b" YES\n", True), (b"n\n", False), (b"\n", False), (b"", False), (b"\xffy\n", False)]
)
def test_only_yes_is_yes(admin: FakeAdmin, typed: bytes, yes: bool) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8")
    with AdminApi(parse(admin.url), lambda: TOKEN) as api:
        assert Session(api, stdin, io.StringIO(), io.StringIO(), lambda: NOW, {}).confirms("Sure?") is yes
