"""The names of a spool's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.events.spool import SpoolWriter, segments
from tests.support.disk import UNLISTABLE, unlistable

SPOOL, BASE = "0011223344556677", "00000000000000ff"
OTHERS = (
    f"{SPOOL}-{BASE}-backup", f"{SPOOL}-{BASE} (copy)", "notes-old", "-", f"{SPOOL}-", f"-{BASE}", f"{SPOOL}--{BASE[1:]}",
    f"{SPOOL}-+{BASE[1:]}", f"{SPOOL}- {BASE[1:]}", f"{SPOOL}-0000_0000_000000", f"{SPOOL}-0x{BASE[2:]}", f"{SPOOL}-ff", f"{SPOOL}-0{BASE}",
    f"{SPOOL}-{BASE.upper()}", f"{SPOOL}-{BASE[1:]}\N{ARABIC-INDIC DIGIT ONE}", f"{SPOOL}-{BASE}\n", f"backup-of-{SPOOL}-{BASE}", f"old-{BASE}",
)  # fmt: skip


def test_what_a_writer_names_is_found_by_spool_and_offset(tmp_path: Path) -> None:
    writers = [SpoolWriter(tmp_path, segment_bytes=20, max_bytes=1 << 20) for _ in range(3)]
    for number in range(100):
        assert writers[number % 3].append(b"x" * 20)
    found = [(segment.spool_id, segment.base) for segment in segments(tmp_path)]
    assert found == sorted(found)
    assert {spool_id for spool_id, _ in found} == {writer.spool_id for writer in writers}
    assert len(found) == len(list(tmp_path.iterdir())) == 100
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("name", OTHERS)
def test_anothers_file_is_left_alone(tmp_path: Path, name: str) -> None:
    mine = tmp_path / f"{SPOOL}-{BASE}.spool"
    other = tmp_path / f"{name}.spool"
    for path in (mine, other):
        path.write_bytes(b"x")
    assert [(one.path, one.spool_id, one.base) for one in segments(tmp_path)] == [(mine, SPOOL, 255)]
    assert other.exists()


@pytest.mark.parametrize("reason", UNLISTABLE)
def test_a_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, reason: int) -> None:
    (tmp_path / f"{SPOOL}-{BASE}.spool").touch()
    with unlistable(reason), pytest.raises(OSError) as raised:
        segments(tmp_path)
    assert raised.value.errno == reason
    assert len(segments(tmp_path)) == 1


def test_a_directory_that_is_not_there_holds_no_spool(tmp_path: Path) -> None:
    assert segments(tmp_path / "absent") == []
