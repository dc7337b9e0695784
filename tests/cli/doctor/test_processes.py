"""What the supervisor's own words mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from sidecar.cli.doctor import processes
from sidecar.supervisor.status import Child, Reload, Status, write

GOOD = Status(1, 0.0, 1, False, [Child("control", 0, 2, True, 0), Child("worker", 0, 3, True, 1)])
CRASHING = replace(GOOD, children=[GOOD.children[0], Child("worker", 0, None, False, 7)])


@pytest.mark.parametrize(
    ("status", "verdicts"),
    [
        (GOOD, {"processes": "ok"}),
        (CRASHING, {"processes": "fail"}),
        (replace(CRASHING, stopping=True), {"processes": "ok"}),
        (replace(GOOD, last_reload=Reload(1.0)), {"processes": "ok"}),
        (replace(GOOD, last_reload=Reload(1.0, ["hub.url: wrong"])), {"processes": "ok", "reload": "warn"}),
    ],
)
def test_children_and_reloads(tmp_path: Path, status: Status, verdicts: dict[str, str]) -> None:
    assert list(processes.checks(tmp_path)) == []
    write(tmp_path, status)
    assert {check.name: check.verdict for check in processes.checks(tmp_path)} == verdicts


def test_it_says_which_one_and_how_often() -> None:
    assert processes.judge_children(CRASHING).finding == "worker 0 does not serve, and ended 7 times by itself"
