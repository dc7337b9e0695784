"""Peppers are looked at before anything begins with them."""

from __future__ import annotations

from pathlib import Path

from sidecar.keys.setup import pepper_faults
from sidecar.settings.declaration import Keys


def test_a_pepper_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    assert pepper_faults(Keys(pepper_file=f"{tmp_path}/pepper")) == []
    assert not (tmp_path / "pepper").exists()


def test_a_pepper_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("canary")
    assert pepper_faults(Keys(pepper_file=f"{tmp_path}/short"))[0].startswith(f"keys.pepper_file: {tmp_path}/short holds fewer than 32")
    found = pepper_faults(Keys(pepper_file=str(tmp_path), previous_pepper_file=f"{tmp_path}/absent"))
    assert [fault.split(":")[0] for fault in found] == ["keys.pepper_file", "keys.previous_pepper_file"]
    assert "canary" not in "".join(found)
