"""The hot path costs no more than was recorded: counts of work, not seconds, so the machine does not matter."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from benchmarks.work import budget, cases

HINT = "make it cheaper, or say in the commit why it is worth it and run `python -m benchmarks.work --record`"


@pytest.fixture(scope="module")
def recorded() -> tuple[str, dict[str, dict[str, float]]]:
    return budget.read()


def test_every_case_has_a_budget(recorded: tuple[str, dict[str, dict[str, float]]]) -> None:
    assert set(recorded[1]) == set(cases.names())


@pytest.mark.skipif(sys.gettrace() is not None, reason="something else traces this interpreter, a debugger or a coverage tool")
@pytest.mark.parametrize("name", cases.names())
def test_the_hot_path_stays_within_its_budget(name: str, recorded: tuple[str, dict[str, dict[str, float]]]) -> None:
    version, bounds = recorded
    counted = cases.with_bench(functools.partial(cases.count, name=name)).counts()
    room = budget.ROOM if version == budget.python() else budget.ROOM_ELSEWHERE
    assert not budget.excesses(name, counted, bounds[name], room), HINT


def test_counts_are_the_same_at_every_run() -> None:
    first, second = (cases.with_bench(functools.partial(cases.count, name="post")).counts() for _ in range(2))
    assert first == second


def test_a_small_exchange_is_one_write_each_way(recorded: tuple[str, dict[str, dict[str, float]]]) -> None:
    assert recorded[1]["post"]["writes"] == 2


def test_a_budget_that_is_written_reads_the_same(tmp_path: Path) -> None:
    counts = {"post": {"calls": 100.0, "writes": 2.0}}
    budget.write(counts, tmp_path / "budget.json")
    assert budget.read(tmp_path / "budget.json") == (budget.python(), counts)


@pytest.mark.parametrize(
    ("counts", "beyond"),
    [
        ({"calls": 102.0, "writes": 2.0}, 0),
        ({"calls": 103.0, "writes": 2.0}, 1),
        ({"calls": 90.0, "writes": 3.0}, 1),
        ({"calls": 103.0, "writes": 3.0}, 2),
    ],
)
def test_there_is_room_for_a_little_work_and_for_no_write(counts: dict[str, float], beyond: int) -> None:
    assert len(budget.excesses("post", counts, {"calls": 100.0, "writes": 2.0}, 0.02)) == beyond
