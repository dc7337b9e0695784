from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli.main import main


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIDECAR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SIDECAR_HUB__URL", f"unix://{tmp_path}/hub.sock")


def test_a_wrong_configuration_is_the_only_finding(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sidecar.yaml").write_text("nonsense: 1\nproxy: {workers: x}\n")
    assert main(["doctor", "--json"]) == 2
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert said.err == "".join(f"sidecar: {check['finding']}\n" for check in report["checks"])
    assert report["ok"] is False
    assert [check["name"] for check in report["checks"]] == ["configuration"] * 2


def test_the_report_is_for_people_or_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    assert "fail  hub " in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert {"name", "verdict", "finding", "advice"} == set(report["checks"][0])


def test_a_store_that_is_down_stands_in_the_report_alone(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SIDECAR_STORE__URL", "redis://127.0.0.1:1/0")
    assert main(["doctor"]) == 1
    said = capfd.readouterr()
    assert "fail  store " in said.out and said.err == ""
