from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.control.anomaly.detectors.geo import open_geo


def test_no_file_is_no_reader() -> None:
    assert open_geo("") is None


def test_another_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("maxminddb")
    file = tmp_path / "x.mmdb"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is not a MaxMind file"):
        open_geo(str(file))


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"hub-auth-sidecar\[geo\]"):
        open_geo("x.mmdb")
