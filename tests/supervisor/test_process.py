from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar.supervisor.process import PythonLauncher, child_environment, with_package_path


@contextmanager
def room_for(descriptors: int) -> Iterator[None]:
    """This process can open so many more meanwhile."""
    free = [os.dup(0) for _ in range(descriptors + 1)]
    for fd in free:
        os.close(fd)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _open() -> dict[str, str]:
    """Open descriptors and what they are, but for the one that lists them."""
    return {fd: os.readlink(link) for fd in os.listdir("/proc/self/fd") if os.path.lexists(link := f"/proc/self/fd/{fd}")}


@pytest.mark.parametrize("descriptors", [0, 1, 2])
def test_what_cannot_be_started_for_want_of_descriptors_keeps_none(descriptors: int) -> None:
    """The supervisor tries again and again; what stayed open would hold the secrets of the settings."""
    launch = PythonLauncher([sys.executable, "-c", ""], os.environ)
    before = _open()
    with room_for(descriptors), pytest.raises(OSError) as failed:
        launch("worker", 0, b"secret", {})
    assert failed.value.errno == errno.EMFILE
    assert _open() == before


def test_what_the_system_does_not_start_keeps_no_descriptor() -> None:
    before = _open()
    with pytest.raises(FileNotFoundError):
        PythonLauncher(["/no/such/program"], os.environ)("worker", 0, b"secret", {})
    assert _open() == before


def test_a_child_gets_how_to_run_and_no_secret() -> None:
    environment = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIDECAR_HUB__ACCESS_KEY": "secret",
        "HUB_ACCESS_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    found = child_environment(environment)
    assert "secret" not in found.values()
    assert {name: found[name] for name in ("PATH", "LC_ALL", "PYTHONDONTWRITEBYTECODE")} == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def test_a_checkout_is_found_before_what_was_asked_for() -> None:
    found = with_package_path({"PYTHONPATH": "/mine", "X": "1"})
    assert found["X"] == "1"
    assert found["PYTHONPATH"].endswith("/mine")
