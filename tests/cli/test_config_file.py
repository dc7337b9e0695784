from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli import config_file


def test_which_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file.find(None, {}) in (None, config_file.PLACES[1])
    Path("sidecar.yaml").touch()
    assert config_file.find(None, {}) == Path("sidecar.yaml")
    assert config_file.find(None, {"SIDECAR_CONFIG": "/other"}) == Path("/other")
    assert config_file.find("given", {"SIDECAR_CONFIG": "/other"}) == Path("given")


def test_a_place_that_may_not_be_looked_at_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the defaults would hold, and nobody would be told."""

    class Closed(type(Path())):  # type: ignore[misc]
        def is_file(self) -> bool:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(config_file, "PLACES", (Closed("/etc/sidecar/sidecar.yaml"),))
    assert config_file.find(None, {}) == Path("/etc/sidecar/sidecar.yaml")
