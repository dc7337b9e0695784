"""Requests that were admitted and came to nothing: what they were counted for is there again; real servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from sidecar.keys.record import Key, Limits, Quota
from sidecar.limits.admission import Limiter
from sidecar.limits.decision import Admission, Counted
from sidecar.store.client import Store, StoreUnavailable
from tests.limits.bench import NOON, SECOND, Bench, ended

DAY = 86_400 * SECOND
COUNTED = Counted(NOON, "2027-11")


def state(bench: Bench, key: Key) -> tuple[list[bytes], list[bytes | None]]:
    """The admissions of the last minute, and of the quota's period."""
    return bench.call("LRANGE", bench.names(key)[0], "0", "-1"), bench.counts(key, "2027-11:requests", "2027-11-24:requests")


def withdraw(bench: Bench, key: Key, now: int, *admissions: Admission, **more: Any) -> list[Admission]:
    """As a worker says it: what came to nothing has ended too."""
    return bench.run(
        key,
        now,
        ended=[hold for admission in admissions for hold in ended(admission, 0)],
        withdrawn=[admission.counted for admission in admissions if admission.counted],
        **more,
    )


# Where a request is counted -----------------------------------------------------------------------

ALL_OF_IT = {"limits": Limits(rpm=9), "quota": Quota(requests=9)}


@pytest.mark.parametrize(
    ("fields", "shadow", "counted"),
    [
        ({"limits": Limits(tpm=9, max_concurrency=9), "quota": Quota(tokens=9)}, "", None),
        ({"limits": Limits(rpm=9)}, "", Counted(NOON, "")),
        ({"quota": Quota(requests=9)}, "", Counted(-1, "2027-11")),
        ({"quota": Quota(requests=9, tokens=9, period="day")}, "", Counted(-1, "2027-11-24")),
        (ALL_OF_IT, "", COUNTED),
        (ALL_OF_IT | {"enforcement": "shadow"}, "", COUNTED),
        # With the place that shadow would have refused, nothing is taken from what is in shadow.
        ({"limits": Limits(rpm=9, max_concurrency=1), "quota": Quota(requests=9), "enforcement": "shadow"}, "max_concurrency", None),
        (
            {"limits": Limits(rpm=9, max_concurrency=1, enforcement={"rpm": "shadow", "max_concurrency": "shadow"}), "quota": Quota(requests=9)},
            "max_concurrency",
            Counted(0, "2027-11"),
        ),
        (
            {"limits": Limits(rpm=9, max_concurrency=1, enforcement={"quota": "shadow", "max_concurrency": "shadow"}), "quota": Quota(requests=9)},
            "max_concurrency",
            Counted(NOON, ""),
        ),
    ],
)  # fmt: skip
def test_the_answer_says_where_the_request_was_counted(bench: Bench, fields: dict[str, Any], shadow: str, counted: Counted | None) -> None:
    key = bench.key(**fields)
    bench.ask(key, NOON, name="before")
    before = state(bench, key)
    answer = bench.ask(key, NOON, name="withdrawn")
    assert (answer.allowed, answer.shadow, answer.counted) == (True, shadow, counted)
    withdraw(bench, key, NOON, answer)
    assert state(bench, key) == before


def test_what_is_refused_is_counted_nowhere(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=1), quota=Quota(requests=9))
    assert [answer.counted for answer in bench.run(key, NOON, asking=[("a", 1), ("b", 1)])] == [COUNTED, None]


# What is taken back -------------------------------------------------------------------------------


def test_whoever_tries_again_and_again_is_let_in_each_time(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=2), quota=Quota(requests=2))
    assert bench.ask(key, NOON).allowed
    last = bench.ask(key, NOON + SECOND)
    for second in range(2, 50):
        (last,) = withdraw(bench, key, NOON + second * SECOND, last, asking=[(f"r{second}", 1)])
        assert last.allowed
        assert last.requests is not None
        assert last.requests.remaining == 0


def test_retries_that_fail_do_not_keep_an_older_request_young(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=2))
    bench.ask(key, NOON)
    for second in (20, 40):
        withdraw(bench, key, NOON + second * SECOND, bench.ask(key, NOON + second * SECOND))
    assert state(bench, key)[0] == [b"%d" % NOON]
    assert all(answer.allowed for answer in bench.run(key, NOON + 60 * SECOND, asking=[("a", 1), ("b", 1)]))


def test_of_those_of_one_turn_as_many_go_as_are_withdrawn(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=300), quota=Quota(requests=300))
    answers = bench.run(key, NOON, asking=[(f"r{number}", 1) for number in range(256)])
    withdraw(bench, key, NOON + SECOND, *answers[:250])
    assert state(bench, key) == ([b"%d" % NOON] * 6, [b"6", None])


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (Counted(NOON - 60 * SECOND, "2027-10"), ([b"%d" % NOON], [b"1", None])),
        (Counted(NOON - SECOND, "2027-11-24"), ([b"%d" % NOON], [b"1", None])),
        (Counted(0, ""), ([b"%d" % NOON], [b"1", None])),
        (COUNTED, ([], [b"0", None])),
    ],
    ids=["long over", "of another period", "nowhere", "there"],
)
def test_what_is_not_counted_any_more_is_not_missing_from_anything(
    bench: Bench, counted: Counted, expected: tuple[list[bytes], list[bytes | None]]
) -> None:
    key = bench.key(limits=Limits(rpm=9), quota=Quota(requests=9))
    bench.ask(key, NOON)
    for _ in range(2):
        bench.run(key, NOON, withdrawn=[counted])
        assert state(bench, key) == expected


def test_a_withdrawal_in_the_next_period_takes_nothing_from_that(bench: Bench) -> None:
    key = bench.key(quota=Quota(requests=9, period="day"))
    old = bench.ask(key, NOON)
    assert bench.ask(key, NOON + DAY).counted == Counted(-1, "2027-11-25")
    withdraw(bench, key, NOON + DAY, old)
    assert bench.counts(key, "2027-11-24:requests", "2027-11-25:requests") == [b"0", b"1"]


def test_a_withdrawal_makes_no_name_that_has_no_end(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=9), quota=Quota(requests=9))
    bench.run(key, NOON, withdrawn=[COUNTED])
    assert [bench.call("PTTL", name) for name in bench.names(key)[:3]] == [-2, -2, -2]
    assert bench.call("PTTL", bench.names(key)[3]) > 0
    assert bench.ask(key, NOON).counted == COUNTED
    bench.run(key, NOON + SECOND, withdrawn=[COUNTED])
    bench.ask(key, NOON + SECOND)
    assert min(bench.call("PTTL", name) for name in (bench.names(key)[0], bench.names(key)[3])) > 60_000


# The limiter --------------------------------------------------------------------------------------


class Failing:
    """A store whose answers are lost while `fails`; notes what each turn withdrew."""

    def __init__(self, store: Store) -> None:
        self.fails = False
        self.said: list[int] = []
        self._store = store

    async def run_many(self, calls: Sequence[Any]) -> list[Any]:
        self.said += [len(msgspec.msgpack.decode(arguments[-1])[3]) for _, _, arguments in calls]
        answers = await self._store.run_many(calls)
        return [StoreUnavailable("too late") for _ in calls] if self.fails else answers


def a_key(**fields: Any) -> Key:
    return Key(id="key_000000000000000a", name="a", created_at=0, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"limits": Limits(rpm=2)},
        {"quota": Quota(requests=2)},
        {"limits": Limits(rpm=2, max_concurrency=1, tpm=1000), "quota": Quota(requests=2, tokens=1000)},
    ],
    ids=["rpm", "quota", "all"],
)
async def test_what_is_withdrawn_is_free_before_the_next_one_asks(store: Store, fields: dict[str, Any]) -> None:
    """Also where nothing is held, so that between two requests nothing is kept of the key."""
    noting = Failing(store)
    limiter = Limiter(noting, "enforce")
    key = a_key(**fields)
    for _ in range(5):
        answer = await limiter.admit(key, "r", 1)
        assert answer.allowed
        limiter.withdraw(answer)
        limiter.release(answer, 0, 0)
    assert noting.said == [0, 1, 1, 1, 1]
    await limiter.close()
    assert noting.said[5:] == [1]
    assert [(await limiter.admit(key, "r", 1)).allowed] == [True]


async def test_without_a_limit_on_requests_nothing_is_said(store: Store) -> None:
    noting = Failing(store)
    limiter = Limiter(noting, "enforce")
    limiter.withdraw(await limiter.admit(a_key(limits=Limits(tpm=1000)), "r", 1))
    limiter.withdraw(await limiter.admit(a_key(), "r", 1))
    await limiter.close()
    assert noting.said == [0]


async def test_a_withdrawal_whose_answer_was_lost_is_not_said_twice(store: Store) -> None:
    """It has no name as a hold has, so the second would give back what the other request was counted for."""
    noting = Failing(store)
    limiter = Limiter(noting, "enforce")
    key = a_key(limits=Limits(rpm=2))
    assert (await limiter.admit(key, "r", 1)).allowed
    limiter.withdraw(await limiter.admit(key, "r", 1))
    noting.fails = True
    await limiter.close()
    noting.fails = False
    assert [(await limiter.admit(key, "r", 1)).allowed for _ in range(2)] == [True, False]
    assert sum(noting.said) == 1
