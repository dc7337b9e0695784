from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.control.reconcile import journal as module
from sidecar.control.reconcile.journal import Journal
from sidecar.events.record import Reconciled, Request, Tokens
from sidecar.events.spool import SpoolWriter, records, segments
from sidecar.events.wire import encode
from tests.control.support.events import key_id, request

A = key_id(1)


def spool_of(directory: Path, segment_bytes: int = 1 << 20) -> SpoolWriter:
    directory.mkdir(exist_ok=True)
    return SpoolWriter(directory, segment_bytes=segment_bytes, max_bytes=1 << 30)


def record_of(call: Request) -> bytes:
    return encode(Reconciled(call.time + 9, call, Tokens(1, 2)))


def opened(directory: Path) -> Journal:
    return Journal.open(directory / "reconcile", directory / "spool")


def appended_and_not_noted(tmp_path: Path) -> tuple[Journal, Request]:
    """A journal, and a call whose addition only the spool tells of."""
    journal, spool, call = opened(tmp_path), spool_of(tmp_path / "spool"), request(A)
    journal.wait([call])
    record = record_of(call)
    journal.add(call, spool.spool_id, spool.position, record)
    assert spool.append(record)
    return journal, call


def append(journal: Journal, spool: SpoolWriter, call: Request) -> None:
    record = record_of(call)
    journal.add(call, spool.spool_id, spool.position, record)
    assert spool.append(record)
    journal.finish([call], noted=True)


def test_it_knows_after_a_restart_what_it_knew_before(tmp_path: Path) -> None:
    journal, spool = opened(tmp_path), spool_of(tmp_path / "spool")
    calls = [request(A) for _ in range(4)]
    journal.wait(calls)
    journal.finish(calls[:1], noted=False)
    append(journal, spool, calls[1])
    again = opened(tmp_path)
    assert again.waiting == journal.waiting == {call.request_id: call for call in calls[2:]}
    assert again.done == journal.done == {call.request_id: call.time for call in calls[:2]}
    assert opened(tmp_path).waiting == again.waiting


def test_a_process_that_died_before_it_appended_did_not_append(tmp_path: Path) -> None:
    journal, spool = opened(tmp_path), spool_of(tmp_path / "spool")
    first, second = request(A), request(A)
    journal.wait([first, second])
    journal.add(first, spool.spool_id, spool.position, record_of(first))
    assert set(opened(tmp_path).waiting) == {first.request_id, second.request_id}, "no spool was ever begun"
    append(journal, spool, first)
    journal.add(second, spool.spool_id, spool.position, record_of(second))
    # The first journal's file was replaced by the check above: write the same into the one that is there now.
    later = opened(tmp_path)
    later.add(first, spool.spool_id, 0, record_of(first))
    later.add(second, spool.spool_id, spool.position, record_of(second))
    assert set(opened(tmp_path).waiting) == {second.request_id}


def test_a_process_that_died_after_it_appended_did(tmp_path: Path) -> None:
    journal, spool = opened(tmp_path), spool_of(tmp_path / "spool", segment_bytes=600)
    calls = [request(A) for _ in range(6)]
    journal.wait(calls)
    for call in calls:
        record = record_of(call)
        journal.add(call, spool.spool_id, spool.position, record)
        assert spool.append(record)
    first, *_, last = segments(tmp_path / "spool")
    assert first.path != last.path
    first.path.unlink()  # read, and deleted by the process while it lived
    assert not opened(tmp_path).waiting


def test_a_record_that_found_no_room_is_tried_again(tmp_path: Path) -> None:
    journal, spool = opened(tmp_path), spool_of(tmp_path / "spool")
    first, second = request(A), request(A)
    journal.wait([first, second])
    journal.add(first, spool.spool_id, spool.position, record_of(first))  # and then `append` said no
    append(journal, spool, second)  # in its place
    again = opened(tmp_path)
    assert set(again.waiting) == {first.request_id}
    assert set(again.done) == {second.request_id}


def test_what_was_added_stays_known_when_its_spool_is_gone(tmp_path: Path) -> None:
    """While reconciliation is off nobody reads the journal, but the fold goes on, and the dead process's spool is swept."""
    journal, spool = opened(tmp_path), spool_of(tmp_path / "spool")
    call = request(A)
    journal.wait([call])
    append(journal, spool, call)
    for segment in segments(tmp_path / "spool"):
        segment.path.unlink()
    again = opened(tmp_path)
    assert not again.waiting
    assert again.done == {call.request_id: call.time}


def test_what_was_added_is_written_down_later_when_there_is_no_room_for_it_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (journal, call), other = appended_and_not_noted(tmp_path), request(A)
    with monkeypatch.context() as full:
        full.setattr(module.os, "write", no_room)
        journal.finish([call], noted=True)
        assert not journal.waiting and call.request_id in journal.done, "else it is added again in a moment"
    journal.wait([other])
    for segment in segments(tmp_path / "spool"):
        segment.path.unlink()
    assert set(opened(tmp_path).waiting) == {other.request_id}


def test_what_its_spool_told_it_is_written_down_later_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process before died between appending and noting it, the disk was full at this one's start, and then the spool is swept."""
    appended_and_not_noted(tmp_path)
    other = request(A)
    with monkeypatch.context() as full:
        full.setattr(module.os, "write", no_room)
        again = opened(tmp_path)
    again.wait([other])
    for segment in segments(tmp_path / "spool"):
        segment.path.unlink()
    assert set(opened(tmp_path).waiting) == {other.request_id}


def test_on_a_full_disk_it_goes_on_with_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened(tmp_path)
    calls = [request(A) for _ in range(3)]
    journal.wait(calls[:1])
    journal.wait(calls[1:2])
    path = tmp_path / "reconcile"
    path.write_bytes(path.read_bytes()[:-5])  # torn: what came behind that could not be read
    with monkeypatch.context() as full:
        full.setattr(module.os, "write", no_room)
        again = opened(tmp_path)
    assert list(again.waiting) == [calls[0].request_id]
    assert "No space left" in caplog.text
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["reconcile"], "the rest of an attempt takes room"
    again.wait(calls[2:])
    assert list(opened(tmp_path).waiting) == [calls[0].request_id, calls[2].request_id]


def test_what_comes_behind_a_torn_entry_that_could_not_be_taken_back_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full may have no room even for taking it back."""
    journal = opened(tmp_path)
    calls = [request(A) for _ in range(3)]
    journal.wait(calls[:1])
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(module.os, "write", lambda fd, data: write(fd, data[:-5]))
        full.setattr(module.os, "ftruncate", no_room)
        with pytest.raises(OSError):
            journal.wait(calls[1:2])
        with pytest.raises(OSError):
            journal.wait(calls[1:2])
    journal.wait(calls[2:])
    assert set(opened(tmp_path).waiting) == {calls[0].request_id, calls[2].request_id}


def no_room(_fd: int, _what: bytes | int) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_late_calls_are_forgotten(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    calls = [request(A, time=float(time)) for time in range(10)]
    journal.wait(calls)
    journal.finish([calls[0], calls[9]], noted=False)
    assert journal.expire(5.0) == 4
    assert set(journal.waiting) == {call.request_id for call in calls[5:9]}
    assert set(journal.done) == {calls[9].request_id}


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 10_000)
    journal = opened(tmp_path)
    for number in range(200):
        call = request(A, time=float(number))
        journal.wait([call])
        journal.finish([call], noted=False)
        journal.expire(number - 3.0)
    assert (tmp_path / "reconcile").stat().st_size < 12_000
    assert len(opened(tmp_path).done) < 60


def test_a_torn_end_costs_only_itself(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    calls = [request(A) for _ in range(3)]
    for call in calls:
        journal.wait([call])
    path = tmp_path / "reconcile"
    path.write_bytes(path.read_bytes()[:-5])
    assert list(opened(tmp_path).waiting) == [call.request_id for call in calls[:2]]


class Killed(Exception):
    """The process dies here."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths=st.lists(st.integers(0, 12), max_size=6), segment_bytes=st.sampled_from([300, 900, 1 << 20]))
def test_wherever_it_dies_every_call_is_added_to_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, deaths: list[int], segment_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    calls = [request(A) for _ in range(5)]
    begun = opened(directory)
    begun.wait(calls)
    begun.close()
    for death in [*deaths, 1000]:
        _live(directory, death, segment_bytes)
    found = [record for segment in segments(directory / "spool") for _, record in records(segment.path.read_bytes())]
    assert sorted(found) == sorted(map(record_of, calls))


def _live(directory: Path, steps: int, segment_bytes: int) -> None:
    """One process's life: it adds to what waits, and is killed after a number of steps."""
    spool = spool_of(directory / "spool", segment_bytes)
    journal = opened(directory)

    def step() -> None:
        nonlocal steps
        if not steps:
            raise Killed
        steps -= 1

    try:
        for call in list(journal.waiting.values()):
            step()
            record = record_of(call)
            journal.add(call, spool.spool_id, spool.position, record)
            step()
            assert spool.append(record)
            step()
            journal.finish([call], noted=True)
    except Killed:
        pass
    finally:
        spool.close()
        journal.close()
