"""The socket of the embedded store and the limit of its path."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sidecar.settings.check import LONGEST_SOCKET_PATH
from sidecar.store.embedded import embedded_socket, make_socket_directory


def test_the_socket_lies_in_the_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/tmp")
    assert embedded_socket(Path("d")) == Path("/tmp/d/store/store.sock")
    assert embedded_socket(Path("/tmp/d")) == embedded_socket(Path("d"))


def test_a_long_path_gets_a_short_private_socket_of_its_own(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    chosen = embedded_socket(deep)
    assert chosen == embedded_socket(deep)
    assert chosen != embedded_socket(tmp_path / ("y" * 100))
    assert len(os.fsencode(chosen)) <= LONGEST_SOCKET_PATH


@pytest.mark.parametrize("extra", [0, 1])
def test_the_boundary_is_where_the_system_has_it(extra: int) -> None:
    stem = len("/tmp//store/store.sock")
    data_dir = Path("/tmp") / ("z" * (LONGEST_SOCKET_PATH - stem + extra))
    chosen = embedded_socket(data_dir)
    assert (chosen.parent.parent == data_dir) is (extra == 0)
    inside = data_dir / "store" / "store.sock"
    inside.parent.mkdir(parents=True)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            if extra:
                with pytest.raises(OSError, match="too long"):
                    listener.bind(str(inside))
            else:
                listener.bind(str(inside))
    finally:
        inside.unlink(missing_ok=True)
        inside.parent.rmdir()
        data_dir.rmdir()


def test_the_directory_must_be_private(tmp_path: Path) -> None:
    target = tmp_path / "store" / "store.sock"
    make_socket_directory(target)
    make_socket_directory(target)
    assert target.parent.stat().st_mode & 0o777 == 0o700
    target.parent.chmod(0o755)
    with pytest.raises(PermissionError, match="private"):
        make_socket_directory(target)
