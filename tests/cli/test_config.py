from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli.main import main
from sidecar.settings import document
from tests.support.source import ROOT


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the machine is in the way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIDECAR_CONFIG", raising=False)
    monkeypatch.delenv("SIDECAR_DATA_DIR", raising=False)


def test_check_is_short_when_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sidecar.yaml").write_text("proxy: {workers: 2}")
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == "sidecar.yaml is valid.\n"


def test_check_tells_every_fault_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("proxy: {workers: x}\nhub: {profil: aigne}\n")
    assert main(["config", "check", "-c", "bad.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(": ")[1] for line in captured.err.splitlines()] == ["hub.profil", "proxy.workers"]


@pytest.mark.parametrize(("text", "code"), [("", 0), ("nonsense: 1", 2)])
def test_check_as_json(tmp_path: Path, text: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert main(["config", "check", "-c", "c.yaml", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["valid"], len(found["faults"])) == ("c.yaml", code == 0, code // 2)


def test_the_example_file_is_valid_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_ACCESS_KEY", "blocklet-abc")
    assert main(["config", "check", "-c", str(ROOT / "config/sidecar.yaml")]) == 0


def test_show_masks_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SIDECAR_HUB__ACCESS_KEY", "canary")
    assert main(["config", "show"]) == 0
    shown = document.parse(capsys.readouterr().out)
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == shown
    assert shown["hub"]["access_key"] == "********"


def test_schema_and_reference_need_no_configuration(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SIDECAR_HUB__NONSENSE", "1")
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"
    assert main(["config", "reference"]) == 0
    assert "`SIDECAR_HUB__URL`" in capsys.readouterr().out
    assert main(["config", "reference", "--example"]) == 0
    assert "hub" in document.parse(capsys.readouterr().out)
