from __future__ import annotations

import errno

import pytest

from sidecar.control.folding.read_failures import COUNTING, UNREADABLE_EVERY, ReadFailures

BROKEN = OSError(errno.EIO, "Input/output error", "/data/spool/s-0.spool")
DENIED = OSError(errno.EACCES, "Permission denied", "/data/spool/t-0.spool")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_spool_rests_for_a_moment_for_whom_it_failed_alone() -> None:
    clock = Clock()
    failures = ReadFailures(clock)
    failures.failed("s", COUNTING, BROKEN)
    assert failures.has("s", COUNTING) and failures.rests("s", COUNTING)
    assert not any(failures.rests(*other) or failures.has(*other) for other in (("s", ""), ("t", COUNTING)))
    clock.now += UNREADABLE_EVERY
    assert failures.has("s", COUNTING) and not failures.rests("s", COUNTING)
    failures.failed("s", COUNTING, BROKEN)
    assert failures.rests("s", COUNTING)
    failures.hurry()
    assert not failures.rests("s", COUNTING)


def test_it_says_which_file_and_why_until_every_reader_went_on() -> None:
    failures = ReadFailures(Clock())
    assert failures.complaint == ""
    for reader in (COUNTING, ""):
        failures.failed("s", reader, BROKEN)
    assert failures.complaint.startswith("/data/spool/s-0.spool cannot be read (Input/output error)") and "more" not in failures.complaint
    failures.failed("t", COUNTING, DENIED)
    assert failures.complaint.endswith(" (and 1 more)")
    failures.retire("t")
    failures.succeeded("s", COUNTING)
    assert "s-0.spool" in failures.complaint and "more" not in failures.complaint
    failures.succeeded("s", "")
    assert failures.complaint == ""


def test_the_log_says_it_once_for_each_spool(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    failures = ReadFailures(Clock())
    for _ in range(3):
        for reader in (COUNTING, "", ":details"):
            failures.failed("s", reader, BROKEN)
            failures.failed("t", reader, DENIED)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    for reader in (COUNTING, "", ":details"):
        failures.succeeded("s", reader)
        failures.succeeded("s", reader)
    assert [record.getMessage() for record in caplog.records[2:]] == ["spool s is read again"]
