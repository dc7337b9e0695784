from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.admin.top import render, trend
from tests.cli.admin.conftest import NOW, Cli
from tests.support.fake_admin import TOKEN, FakeAdmin, Reply, refusal
from tests.support.waiting import wait_until

SUMS = {
    "requests": 50,
    "errors": 2,
    "denied": 1,
    "input_tokens": 100,
    "output_tokens": 5,
    "images": 0,
    "credits": 0,
    "bytes_in": 7,
    "bytes_out": 8,
}
STATUS = {
    "version": "0.1.0",
    "workers": [{"in_flight": 3, "lease_age_seconds": 0.25}, {"in_flight": 4, "lease_age_seconds": 0.4}],
    "store": {"up": True, "failure": ""},
    "spool": {"backlog_bytes": 1200},
}


def usage(*names: str) -> dict[str, Any]:
    series = [{"time": "2026-11-24T11:59:00Z", **SUMS}]
    return {
        "from": "2026-11-24T11:55:00Z",
        "totals": SUMS,
        "series": series,
        "groups": [{"by": f"key_{name[:16]}", "name": name, "totals": SUMS, "series": series} for name in names],
    }


@pytest.fixture(autouse=True)
def _answers(admin: FakeAdmin) -> None:
    admin.on("GET", "/status", STATUS)
    admin.on("GET", "/usage", usage("shop"))


def test_one_snapshot_without_a_terminal(cli: Cli, admin: FakeAdmin) -> None:
    result = cli("top")
    assert result.code == 0
    assert "\x1b" not in result.out
    assert "2 workers, 7 requests in flight, oldest lease 0.4 s, store up, backlog 1.2kB" in result.out
    assert "key_shop" in result.out
    assert next(call for call in admin.calls if call.path.endswith("usage")).query["group_by"] == "key"


def test_rates_are_those_of_the_time_that_the_answer_is_about(cli: Cli, admin: FakeAdmin) -> None:
    """Which begins earlier than was asked for where that is no longer kept."""
    admin.on("GET", "/usage", {**usage("shop"), "from": "2026-11-24T11:50:00Z"})
    shown = cli("top").out
    assert "over the last 10 min" in shown and "5 requests/min" in shown
    asked = [call for call in admin.calls if call.path.endswith("usage")][-1].query["from"]
    assert asked == "2026-11-24T11:55:00+00:00"
    later = datetime(2026, 11, 24, 12, 2, 30, tzinfo=UTC)
    assert "4 requests/min" in "\n".join(render(STATUS, {**usage(), "from": "2026-11-24T11:50:00Z"}, later, None))


def test_a_terminal_that_cannot_redraw_gets_one_look(cli: Cli) -> None:
    result = cli("top", tty=True, environment={"TERM": "dumb"})
    assert result.code == 0 and "\x1b" not in result.out and "sidecar 0.1.0" in result.out


def test_json(cli: Cli) -> None:
    assert json.loads(cli("top", "--json").out)["status"] == STATUS


def test_what_is_down_is_said() -> None:
    status = {**STATUS, "workers": [{"in_flight": 0, "lease_age_seconds": None}], "store": {"up": False, "failure": "timeout"}}
    assert "no lease, store down (timeout)" in "\n".join(render(status, usage(), NOW, None))


@pytest.mark.parametrize("columns", [110, 80, 60, 40, 20])
def test_lines_fit(columns: int) -> None:
    lines = render(STATUS, usage("n" * 200), NOW, columns)
    assert all(len(line) <= columns for line in lines)
    assert lines[0].startswith("sidecar 0.1.0")


def test_a_narrow_terminal_shows_names_and_goes_without_ids() -> None:
    shown = "\n".join(render(STATUS, usage("shop"), NOW, 60))
    assert "shop" in shown and "REQ/MIN" in shown and "key_shop" not in shown


def test_one_is_not_many() -> None:
    shown = render({**STATUS, "workers": [{"in_flight": 1, "lease_age_seconds": 0.1}]}, usage(), NOW, None)
    assert "1 worker, 1 request in flight, " in shown[2]


def test_the_trend_is_as_tall_as_its_busiest_minute() -> None:
    now = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
    points = [
        {"time": "2026-11-24T11:58:00Z", "requests": 1},
        {"time": "2026-11-24T12:00:00Z", "requests": 8},
        {"time": "2026-11-24T11:00:00Z", "requests": 99},
    ]
    assert trend(points, now) == "   ▁ █"
    assert trend([], now) == "      "


def watched(admin: FakeAdmin, looks: int, leave: Callable[[subprocess.Popen[bytes], int], object]) -> bytes:
    """What `sidecar top` wrote to a terminal that somebody leaves after some looks."""
    main, other = pty.openpty()
    before = termios.tcgetattr(other)
    environment = {**os.environ, "SIDECAR_ADMIN_TOKEN": TOKEN, "COLUMNS": "120", "LINES": "30", "TERM": "xterm"}
    command = [sys.executable, "-m", "sidecar", "top", "--interval", "0.2", "--admin-url", admin.url]
    child = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment)
    seen, has_left = b"", False
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline and child.poll() is None:
            if select.select([main], [], [], 0.1)[0]:
                seen += os.read(main, 65536)
            if seen.count(b"key_shop") >= looks and not has_left:
                leave(child, main)
                has_left = True
        assert child.wait(10) == 0
        assert termios.tcgetattr(other) == before
        while select.select([main], [], [], 0)[0]:
            seen += os.read(main, 65536)
    finally:
        child.kill()
        child.wait()
        os.close(other)
        os.close(main)
    return seen


@pytest.mark.parametrize("leave", [lambda child, main: os.write(main, b"q"), lambda child, main: child.send_signal(signal.SIGTERM)])
def test_a_terminal_is_redrawn_until_somebody_leaves_and_left_as_it_was(
    admin: FakeAdmin, leave: Callable[[subprocess.Popen[bytes], int], object]
) -> None:
    seen = watched(admin, 2, leave)
    assert seen.count(b"\x1b[H") >= 2
    assert seen.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")


def test_ctrl_z_gives_the_shell_its_terminal_for_as_long_as_it_lasts(admin: FakeAdmin) -> None:
    def stop_and_go_on(child: subprocess.Popen[bytes], main: int) -> None:
        watching = termios.tcgetattr(main)[3] & termios.ECHO
        child.send_signal(signal.SIGTSTP)
        wait_until(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        assert not watching and termios.tcgetattr(main)[3] & termios.ECHO
        child.send_signal(signal.SIGCONT)
        wait_until(lambda: not termios.tcgetattr(main)[3] & termios.ECHO)
        os.write(main, b"q")

    seen = watched(admin, 2, stop_and_go_on)
    assert seen.count(b"\x1b[?1049l") == seen.count(b"\x1b[?1049h") == 2
    assert seen.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")


def test_a_sidecar_that_is_away_for_a_moment_does_not_end_the_view(admin: FakeAdmin) -> None:
    answers = iter([Reply(STATUS), refusal(503, "key_store_unavailable", "The store is away.")])
    admin.on("GET", "/status", lambda _: next(answers, Reply(STATUS)))
    seen = watched(admin, 3, lambda child, main: os.write(main, b"q"))
    assert seen.count(b"UTC: The store is away.") == 1


def test_a_token_that_is_refused_ends_it(admin: FakeAdmin) -> None:
    answers = iter([Reply(STATUS)])
    admin.on("GET", "/status", lambda _: next(answers, refusal(401, "invalid_admin_token", "This admin token is not valid.")))
    with pytest.raises(AssertionError, match="== 0"):
        watched(admin, 99, lambda child, main: None)
