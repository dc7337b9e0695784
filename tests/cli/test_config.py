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


def test_check_tells_of_a_pepper_that_no_start_could_begin_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("keys: {pepper_file: absent, previous_pepper_file: before}")
    assert main(["config", "check", "-c", "c.yaml"]) == 2
    assert capsys.readouterr().err.startswith("sidecar: keys.previous_pepper_file: before cannot be read by user ")
    (tmp_path / "before").write_text("x" * 64)
    assert main(["config", "check", "-c", "c.yaml"]) == 0


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


@pytest.mark.parametrize("command", ["check", "show", "schema", "reference"])
def test_every_command_takes_a_file_and_prints_one_json_document(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("proxy: {workers: 2}")
    assert main(["config", command, "-c", "c.yaml", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_the_reference_as_json_has_every_setting_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    page = capsys.readouterr().out
    assert main(["config", "reference", "--json"]) == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)["data"]}
    assert len(rows) == sum(line.startswith("| `") for line in page.splitlines())
    assert rows["proxy.drain_timeout"] == {
        "path": "proxy.drain_timeout",
        "type": "duration",
        "default": "25s",
        "environment_variable": "SIDECAR_PROXY__DRAIN_TIMEOUT",
        "description": "How long open requests may take after SIGTERM.",
    }
    assert rows["hub.access_key"]["default"] is None
