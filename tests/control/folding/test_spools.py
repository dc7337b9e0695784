from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.folding.spools import Chunk, Spools, split
from sidecar.events.spool import SpoolWriter, frame, records
from tests.support.disk import unreadable


def make(directory: Path, segment_bytes: int = 1 << 20) -> SpoolWriter:
    directory.mkdir(exist_ok=True)
    return SpoolWriter(directory, segment_bytes=segment_bytes, max_bytes=1 << 30)


def age(directory: Path, seconds: float = 60) -> None:
    for path in directory.glob("*.spool"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def read_all(spools: Spools, spool_id: str, position: int = 0) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    while True:
        chunk = spools.read(spool_id, position)
        if chunk.end == position:
            return found, position
        found += chunk.records
        position = chunk.end


@given(st.lists(st.binary(max_size=50), max_size=20), st.binary(max_size=30), st.integers(0, 2000))
def test_split_agrees_with_the_writers_own_reader(payloads: list[bytes], rubbish: bytes, cut: int) -> None:
    data = (b"".join(frame(payload) for payload in payloads) + rubbish)[: cut or None]
    whole, ends = split(data)
    expected = list(records(data))
    assert (whole, ends) == ([record for _, record in expected], [end for end, _ in expected])


def test_reads_across_segments_and_from_any_record(tmp_path: Path) -> None:
    writer = make(tmp_path, segment_bytes=64)
    payloads = [b"%03d" % number * 5 for number in range(40)]
    for payload in payloads:
        writer.append(payload)
    spools = Spools(tmp_path)
    assert spools.scan() == [writer.spool_id]
    assert read_all(spools, writer.spool_id) == (payloads, writer.position)
    chunk = spools.read(writer.spool_id, 0)
    assert chunk.after(chunk.ends[0]) == chunk.records[1:]
    assert spools.end(writer.spool_id) == writer.position
    assert spools.backlog({writer.spool_id: chunk.end}) == writer.position - chunk.end


def test_a_torn_end_of_a_live_spool_is_a_write_under_way(tmp_path: Path) -> None:
    writer = make(tmp_path)
    writer.append(b"one")
    path = next(tmp_path.glob("*.spool"))
    whole = frame(b"two")
    with path.open("ab") as file:
        file.write(whole[:5])
    spools = Spools(tmp_path)
    spools.scan()
    assert spools.check_live(writer.spool_id)
    assert read_all(spools, writer.spool_id) == ([b"one"], len(frame(b"one")))
    with path.open("ab") as file:
        file.write(whole[5:])
    assert read_all(spools, writer.spool_id)[0] == [b"one", b"two"]
    assert spools.corrupt == 0


def test_the_writers_death_frees_its_spool(tmp_path: Path) -> None:
    writer = make(tmp_path)
    writer.append(b"one")
    age(tmp_path)
    spools = Spools(tmp_path)
    spools.scan()
    assert spools.check_live(writer.spool_id)
    assert not list(spools.droppable(writer.spool_id, writer.position))
    writer.close()
    assert not spools.check_live(writer.spool_id)
    assert [segment.base for segment in spools.droppable(writer.spool_id, writer.position)] == [0]
    assert not list(spools.droppable(writer.spool_id, writer.position - 1))


def test_a_worker_that_goes_on_to_another_segment_during_the_look_is_not_dead(tmp_path: Path) -> None:
    writer = make(tmp_path, segment_bytes=16)
    writer.append(b"fills the segment")
    spools = Spools(tmp_path)
    spools.scan()
    age(tmp_path)
    writer.append(b"stands in the next one")
    assert spools.check_live(writer.spool_id)
    spools.scan()
    assert spools.check_live(writer.spool_id)
    writer.close()
    age(tmp_path)
    assert not spools.check_live(writer.spool_id)


def test_a_damaged_end_of_a_dead_spool_is_put_aside_once(tmp_path: Path) -> None:
    writer = make(tmp_path)
    writer.append(b"one")
    writer.close()
    path = next(tmp_path.glob("*.spool"))
    with path.open("ab") as file:
        file.write(frame(b"two")[:6])
    age(tmp_path)
    for turn in range(2):
        spools = Spools(tmp_path)
        spools.scan()
        spools.check_live(writer.spool_id)
        found, position = read_all(spools, writer.spool_id)
        assert found == [b"one"]
        assert position == path.stat().st_size
        assert spools.corrupt == (0 if turn else 1)
    kept = next(tmp_path.glob("*.corrupt"))
    assert kept.read_bytes() == frame(b"two")[:6]
    assert len(list(spools.droppable(writer.spool_id, position))) == 1


def test_damage_inside_a_finished_segment_costs_only_the_rest_of_it(tmp_path: Path) -> None:
    writer = make(tmp_path, segment_bytes=50)
    for number in range(12):
        writer.append(b"%02d" % number * 5)
    first, second, *_ = sorted(tmp_path.glob("*.spool"))
    assert second.exists()
    data = bytearray(first.read_bytes())
    data[len(frame(b"0" * 10)) + 12] ^= 0xFF
    first.write_bytes(data)
    spools = Spools(tmp_path)
    spools.scan()
    found, position = read_all(spools, writer.spool_id)
    assert found == [b"%02d" % number * 5 for number in (0, 3, 4, 5, 6, 7, 8, 9, 10, 11)]
    assert position == writer.position
    assert spools.corrupt == 1


def test_segments_go_only_when_everything_in_them_is_read(tmp_path: Path) -> None:
    writer = make(tmp_path, segment_bytes=50)
    for number in range(12):
        writer.append(b"%02d" % number * 5)
    spools = Spools(tmp_path)
    spools.scan()
    bases = [segment.base for segment in spools.droppable(writer.spool_id, writer.position)]
    assert bases == sorted(bases)
    assert len(bases) == len(list(tmp_path.glob("*.spool"))) - 1, "the one that is being written stays"
    assert len(list(spools.droppable(writer.spool_id, bases[1]))) == 1


def test_a_position_before_the_first_segment_goes_on_with_it(tmp_path: Path) -> None:
    writer = make(tmp_path, segment_bytes=50)
    for number in range(12):
        writer.append(b"%02d" % number * 5)
    sorted(tmp_path.glob("*.spool"))[0].unlink()
    spools = Spools(tmp_path)
    spools.scan()
    chunk = spools.read(writer.spool_id, 0)
    assert chunk.start == spools.base(writer.spool_id) > 0
    assert chunk.records


def test_a_chunk_ends_where_it_is_told_to() -> None:
    chunk = Chunk("s", 10, 40, [b"a", b"b", b"c"], [20, 30, 40])
    assert chunk.until(30) == Chunk("s", 10, 30, [b"a", b"b"], [20, 30])
    assert all(chunk.until(position) is chunk for position in (5, 10, 40, 50))


def test_of_what_cannot_be_read_figures_are_told_all_the_same(tmp_path: Path) -> None:
    writers = [make(tmp_path) for _ in range(2)]
    for each in writers:
        each.append(b"one")
    spools = Spools(tmp_path)
    first, _ = spools.scan()
    with unreadable(next(tmp_path.glob(f"{first}*"))):
        assert spools.backlog({}) == spools.size() == len(frame(b"one"))
        with pytest.raises(OSError, match="symbolic links"):
            spools.end(first)
    assert spools.backlog({}) == spools.size() == 2 * len(frame(b"one"))


def test_an_error_names_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    writer = make(tmp_path)
    writer.append(b"one")
    spools = Spools(tmp_path)
    spools.scan()
    file = next(tmp_path.glob("*.spool"))
    for sized in (False, True):
        with unreadable(file, sized=sized), pytest.raises(OSError) as raised:
            spools.read(writer.spool_id, 0)
        assert raised.value.filename in (str(file), file)


def test_a_spool_without_room_still_tells_that_its_writer_lives(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=100, max_bytes=200)
    spools = Spools(tmp_path)
    assert spools.touched(writer.spool_id) == 0
    writer.touch()
    while writer.append(bytes(50)):
        pass
    spools.scan()
    age(tmp_path)
    began = spools.touched(writer.spool_id)
    assert not writer.append(b"") and spools.touched(writer.spool_id) == began
    writer.touch()
    assert began + 59 < spools.touched(writer.spool_id) <= time.time() + 1
    for path in tmp_path.glob("*.spool"):
        path.unlink()
    assert spools.touched(writer.spool_id) == 0
    writer.close()
