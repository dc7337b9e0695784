from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli.admin.session import data_dir


def test_the_environment_names_the_data_directory() -> None:
    assert data_dir({"SIDECAR_DATA_DIR": "/srv/sidecar"}) == Path("/srv/sidecar")


def test_then_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("data_dir: /var/lib/sidecar\n")
    assert data_dir({"SIDECAR_CONFIG": str(tmp_path / "c.yaml")}) == Path("/var/lib/sidecar")


def test_a_configuration_that_cannot_be_read_here_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sidecar.yaml").write_text("hub: {access_key: '${UNSET_HERE}'}\n")
    monkeypatch.chdir(tmp_path)
    assert data_dir({}) == Path("data")
