"""Peppers are looked at before anything begins with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.keys.digest import load_or_create
from sidecar.keys.pepper_files import obstacle, pepper_faults, succession_faults
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


def test_what_keeps_a_pepper_from_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    for place in ("loose", "file"):
        assert obstacle(tmp_path / place / "a" / "pepper") == f"{tmp_path}/{place} is no directory that this user may write"
        # Whoever makes it says so; a fault of the settings it is not, for the directory may be that of data_dir.
        assert pepper_faults(Keys(pepper_file=f"{tmp_path}/{place}/a/pepper")) == []
    assert [fault.split(":")[0] for fault in pepper_faults(Keys(pepper_file="a\0b"))] == ["keys.pepper_file"]
    assert obstacle(tmp_path / "a" / "b" / "pepper") == ""
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    assert obstacle(tmp_path / "a" / "b" / "pepper") == f"{tmp_path} is no directory that this user may write"
    assert not (tmp_path / "a").exists()


def test_who_runs_goes_on_only_with_a_pepper_that_knows_the_keys(tmp_path: Path) -> None:
    new, running = f"{tmp_path}/new", f"{tmp_path}/pepper"
    load_or_create(Path(new))
    known = load_or_create(Path(running)).id
    assert succession_faults(Keys(pepper_file=running), known) == []
    assert succession_faults(Keys(pepper_file=new, previous_pepper_file=running), known) == []
    (found,) = succession_faults(Keys(pepper_file=new), known)
    assert found.startswith(f"keys.pepper_file: {new} holds another pepper than the one in use")
    for absent in (f"{tmp_path}/peper", f"{running}/pepper"):
        (found,) = succession_faults(Keys(pepper_file=absent), known)
        assert found.startswith(f"keys.pepper_file: {absent} does not exist, and only a start makes one")
