from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.supervisor.interruption import Interrupted, interrupted_after
from tests.supervisor.fakes import Sidecar
from tests.support.waiting import wait_until


@pytest.fixture
def calm() -> Iterator[list[int]]:
    """What handlers of before have heard."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in (signal.SIGALRM, signal.SIGTERM)}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_takes_too_long_is_given_up(tmp_path: Path, calm: list[int]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Interrupted), interrupted_after(0.01):
        (tmp_path / "pipe").read_text()
    signal.raise_signal(signal.SIGALRM)
    assert calm == [signal.SIGALRM], "the handler of before is back"


def test_who_is_told_to_end_waits_no_longer(calm: list[int]) -> None:
    with pytest.raises(Interrupted), interrupted_after(1000):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    signal.raise_signal(signal.SIGTERM)
    assert calm == [signal.SIGTERM]


def test_what_is_done_in_time_is_not_disturbed(calm: list[int]) -> None:
    with interrupted_after(1000):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert calm == []


def test_a_reload_that_waits_for_a_secret_does_not_keep_a_stop_waiting(sidecar: Sidecar, tmp_path: Path) -> None:
    """Its file may be a pipe, and whoever should write into it be away."""
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    os.mkfifo(tmp_path / "password")
    sidecar.configure(store=f"embedded, password_file: {tmp_path / 'password'}")
    sidecar.send(signal.SIGHUP)
    writer = wait_until(lambda: os.open(tmp_path / "password", os.O_WRONLY | os.O_NONBLOCK), within=20)
    try:
        sidecar.send(signal.SIGTERM)
        assert sidecar.wait() == 0
    finally:
        os.close(writer)
    assert "it could not be read to its end" in sidecar.output
    assert sidecar.order()[-1] == "control end"
