"""What wrk is told and what it says back."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.load import wrk
from benchmarks.load.request import chat

RESULT = '{"requests": 10, "seconds": 2.5, "bytes": 99, "refused": 0, "failed": 1, "p50": 12.5, "p99": 99.0}'


def test_the_result_is_found_among_other_output() -> None:
    load = wrk.parse(f"Running 2s test\n  1 threads\n{wrk.MARK}{RESULT}\nRequests/sec: 4\n")
    assert load == wrk.Load(requests=10, seconds=2.5, bytes=99, refused=0, failed=1, p50=12.5, p99=99.0)


def test_without_a_result_the_reason_is_told() -> None:
    with pytest.raises(RuntimeError, match="unable to connect"):
        wrk.parse("", "unable to connect to 127.0.0.1")


def test_requests_in_turn_are_of_one_size() -> None:
    assert len(wrk.made_of_one_size(chat().with_keys("first", "other"))) == 2
    with pytest.raises(ValueError, match="one length"):
        wrk.made_of_one_size(chat().with_keys("first", "another"))


def test_one_key_is_a_fixed_header_and_many_come_from_a_file() -> None:
    one = wrk.script(chat().with_keys("first"), Path("/tmp/body"), Path("/tmp/requests"))
    many = wrk.script(chat().with_keys("first", "other"), Path("/tmp/body"), Path("/tmp/requests"))
    assert "Bearer first" in one and "request = function" not in one
    assert 'io.open("/tmp/requests", "rb")' in many and "for _ = 1, 2" in many and "Bearer other" not in many
