from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import TextIO

import pytest

from sidecar import outlet


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


@pytest.mark.parametrize("is_ours", [True, False])
def test_as_much_is_taken_as_there_is_room_for(pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch, is_ours: bool) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    reading, stream = pipe
    if not is_ours:
        monkeypatch.setattr(os, "open", refused)
    found = outlet.open_outlet(stream)
    monkeypatch.undo()
    assert found is not None
    data, size = memoryview(b"x" * 1_000_000), 0
    while taken := found.take(data):
        size += taken
    assert not found.has_room(0.0)
    assert os.get_blocking(stream.fileno()), "the processes beside this one wait as they did"
    assert len(os.read(reading, 1 << 20)) == size
    assert found.has_room(0.0)
    found.close()


def test_what_never_waits_needs_none() -> None:
    with tempfile.TemporaryFile("w") as file:
        assert outlet.open_outlet(file) is None
    assert outlet.open_outlet(file) is None
