"""The script of one turn, against a model of a few lines and at its edges; real server, virtual time."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.keys.record import Key, Limits, Quota
from sidecar.limits.decision import Admission
from sidecar.limits.turn import LEASE, plan
from sidecar.settings.declaration import Enforcement
from tests.limits.bench import NOON, SECOND, Bench, ended
from tests.limits.model import Model

# The model --------------------------------------------------------------------------------------

SMALL = st.none() | st.integers(1, 12)
KEYS = st.fixed_dictionaries(
    {
        "limits": st.builds(Limits, rpm=SMALL, tpm=st.none() | st.integers(1, 400), max_concurrency=SMALL),
        "quota": st.none()
        | st.builds(
            Quota,
            requests=st.none() | st.integers(1, 30),
            tokens=st.none() | st.integers(1, 1500),
            period=st.sampled_from(("day", "week", "month")),
            timezone=st.sampled_from(("UTC", "Europe/Berlin", "America/New_York")),
        ),
    }
)
PAUSES = st.sampled_from((0, 1, SECOND, 5 * SECOND, 25 * SECOND - 1, 25 * SECOND, 60 * SECOND, 85 * SECOND, 40 * 3600 * SECOND))
ASKING = st.sampled_from((20, 200)).flatmap(lambda most: st.lists(st.integers(1, most), min_size=1, max_size=4))
REQUEST, USED = st.integers(0, 30), st.integers(0, 300)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), PAUSES),
        st.tuples(st.just("ask"), ASKING),
        st.tuples(st.sampled_from(("end and ask", "withdraw and ask", "renew and ask")), REQUEST, USED, ASKING),
        st.tuples(st.sampled_from(("end", "withdraw", "renew", "fold")), REQUEST, USED),
        st.tuples(st.just("limits"), KEYS),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(KEYS, STEPS)
def test_the_script_decides_as_the_model_does(bench: Bench, fields: dict[str, Any], steps: list[tuple[Any, ...]]) -> None:
    key, model, now = bench.key(**fields), Model(), NOON
    taken: dict[str, Admission] = {}
    for number, (what, *how) in enumerate(steps):
        if what == "wait":
            now += how[0]
        elif what == "limits":
            # A limit that is given anew counts from then on; here only those change that were there before.
            key = changed(key, **how[0])
        elif plan(key, "enforce") is None:
            continue
        else:
            name = sorted(taken)[how[0] % len(taken)] if taken and what != "ask" else ""
            if name and what == "fold":
                fold(bench, key, model, name, taken[name], how[1])
                continue
            more = said(model, now, what, name, taken[name], how[1]) if name else {}
            asking = [(f"{number}:{index}", tokens) for index, tokens in enumerate(how[-1] if what.endswith("ask") else ())]
            answers = bench.run(key, now, asking=asking, **more)
            assert [answer.reason for answer in answers] == [model.ask(key, name, tokens, now) for name, tokens in asking]
            taken |= {name: answer for (name, _), answer in zip(asking, answers, strict=True) if answer.allowed}


def changed(key: Key, limits: Limits, quota: Quota | None) -> Key:
    def new(old: int | None, given: int | None) -> int | None:
        return None if old is None else given or old

    return Key(
        id=key.id,
        name=key.name,
        created_at=0,
        limits=Limits(
            new(key.limits.rpm, limits.rpm), new(key.limits.tpm, limits.tpm), new(key.limits.max_concurrency, limits.max_concurrency)
        ),
        quota=key.quota
        and Quota(
            new(key.quota.requests, quota and quota.requests),
            new(key.quota.tokens, quota and quota.tokens),
            key.quota.period,
            key.quota.timezone,
        ),
    )


def books(hold: str) -> set[str]:
    """What a hold is kept in: one book, or two together."""
    return set(hold.partition("/")[0].split("+"))


def said(model: Model, now: int, what: str, name: str, taken: Admission, used: int) -> dict[str, Any]:
    """What a worker says in its turn of the request `name`, that it is over, came to nothing or runs on; the model hears of it too."""
    alive = {book for (book, of), (expiry, _) in model.holds.items() if expiry > now and of == name}
    if what.startswith("renew"):
        model.renew(name, now)
        return {"renewed": [hold for hold in taken.holds if books(hold) & alive]}
    more: dict[str, Any] = {}
    if what.startswith("withdraw") and name in model.counted:
        used = 0
        more["withdrawn"] = [taken.counted] if taken.counted else []
        model.withdraw(name)
    model.end(name, used, now)
    return {"ended": [(hold, tokens) for hold, tokens in ended(taken, used) if books(hold) & alive], **more}


def fold(bench: Bench, key: Key, model: Model, name: str, taken: Admission, used: int) -> None:
    period = taken.quota_period.split("/")[0]
    # The event says what the worker said.
    _, amount = model.holds.get((period, "=" + name), (0, used))
    if {(period, "=" + name), (period, name)} & model.holds.keys():
        bench.fold(key, taken.quota_period, amount)
        model.fold(name, amount)


# Rates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [9_001, 99_000])
def test_rpm_600_admits_594_to_606_in_every_minute_that_asks_for_more(bench: Bench, interval: int) -> None:
    key, now, times = bench.key(limits=Limits(rpm=600)), NOON, []
    batch = 5
    for _ in range(150 * SECOND // interval // batch):
        # All of a batch ask at its end, as those of one turn of the event loop do.
        now += interval * batch
        times += [now for answer in bench.run(key, now, asking=[("r", 1)] * batch) if answer.allowed]
    for begin in range(times[0], times[-1] - 60 * SECOND, 250_000):
        admitted = bisect_right(times, begin + 60 * SECOND) - bisect_right(times, begin)
        assert 594 <= admitted <= 606


def test_rpm_at_the_boundary(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=2))
    assert [bench.ask(key, NOON).allowed, bench.ask(key, NOON + SECOND).allowed] == [True, True]
    assert bench.ask(key, NOON + 2 * SECOND).retry_after == 58.0
    refused = bench.ask(key, NOON + 60 * SECOND - 1)
    assert (refused.reason, refused.retry_after) == ("rpm", 1.0)
    assert bench.ask(key, NOON + 60 * SECOND).allowed
    assert not bench.ask(key, NOON + 60 * SECOND).allowed
    assert bench.ask(key, NOON + 61 * SECOND).allowed


def test_a_minute_outlasts_a_place(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=1, max_concurrency=1))
    bench.ask(key, NOON, 1, "first")
    refused = bench.ask(key, NOON + 10 * SECOND)
    assert (refused.reason, refused.retry_after) == ("rpm", 50.0)


def test_what_is_refused_takes_nothing(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=100, tpm=1000, max_concurrency=1), quota=Quota(requests=100, tokens=1000))
    bench.ask(key, NOON, 10, "first")
    before = [bench.call("DUMP", name) for name in plan(key, "enforce").names]  # type: ignore[union-attr]
    assert {bench.ask(key, NOON, 10, f"r{n}").reason for n in range(5)} == {"max_concurrency"}
    assert [bench.call("DUMP", name) for name in plan(key, "enforce").names] == before  # type: ignore[union-attr]


def test_a_lowered_limit_waits_for_as_many_to_leave_and_a_raised_one_admits_at_once(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=10))
    for n in range(10):
        assert bench.ask(key, NOON + n * SECOND).allowed
    low = changed(key, Limits(rpm=3), None)
    refused = bench.ask(low, NOON + 10 * SECOND)
    assert refused.retry_after == 57.0  # the eighth of ten must leave
    assert refused.requests is not None
    assert (refused.requests.limit, refused.requests.remaining) == (3, 0)
    assert not bench.ask(low, NOON + 67 * SECOND - 1).allowed
    assert bench.ask(low, NOON + 67 * SECOND).allowed
    assert bench.ask(changed(key, Limits(rpm=5), None), NOON + 67 * SECOND).allowed


def test_tpm_counts_the_estimate_until_the_end_and_the_use_for_a_minute_from_then(bench: Bench) -> None:
    key = bench.key(limits=Limits(tpm=1000))
    first = bench.ask(key, NOON, 900, "a")
    second = bench.ask(key, NOON, 900, "b")
    assert (first.allowed, second.allowed) == (True, True)  # admitted while settled + reserved < limit
    assert bench.ask(key, NOON).reason == "tpm"
    bench.run(key, NOON + SECOND, ended=ended(first, 50))
    bench.run(key, NOON + 2 * SECOND, ended=ended(second, 70))
    third = bench.ask(key, NOON + 2 * SECOND, 879, "c")
    assert third.tokens is not None
    assert (third.allowed, third.tokens.limit, third.tokens.remaining) == (True, 1000, 1)
    fourth = bench.ask(key, NOON + 2 * SECOND, 1, "d")
    assert fourth.allowed
    refused = bench.ask(key, NOON + 3 * SECOND)
    assert (refused.reason, refused.retry_after) == ("tpm", 58.0)  # the first 50 leave a minute after their end
    assert refused.requests is None


def test_an_end_counts_once(bench: Bench) -> None:
    key = bench.key(limits=Limits(tpm=1000, max_concurrency=5))
    first = bench.ask(key, NOON, 10, "a")
    for _ in range(3):
        bench.run(key, NOON, ended=ended(first, 100))
    assert bench.ask(key, NOON, 1).tokens.remaining == 899  # type: ignore[union-attr]


@pytest.mark.parametrize(("used", "remaining"), [(0, 999), (7, 992), (None, 899)])
def test_use_that_is_not_known_counts_as_estimated(bench: Bench, used: int | None, remaining: int) -> None:
    key = bench.key(limits=Limits(tpm=1000, max_concurrency=9))
    bench.run(key, NOON, ended=ended(bench.ask(key, NOON, 100, "a"), used))
    assert bench.ask(key, NOON, 1).tokens.remaining == remaining  # type: ignore[union-attr]


# Slots ------------------------------------------------------------------------------------------


def test_slots_of_a_dead_worker_are_free_within_30_seconds(bench: Bench) -> None:
    assert LEASE <= 30
    key = bench.key(limits=Limits(max_concurrency=5, tpm=1000))
    held = [bench.ask(key, NOON, 100, f"r{n}") for n in range(5)]
    assert all(answer.allowed for answer in held)
    # Its last renewal.
    died = NOON + 40 * SECOND
    for second in range(5, 41, 5):
        bench.run(key, NOON + second * SECOND, renewed=[hold for answer in held for hold in answer.holds])
    assert bench.ask(key, died + int(LEASE * SECOND) - 1).reason == "max_concurrency"
    healed = bench.ask(key, died + int(LEASE * SECOND), 100, "next")
    assert healed.allowed
    assert healed.tokens is not None
    assert healed.tokens.remaining == 900
    assert LEASE < 30


def test_a_renewal_brings_back_what_lapsed_while_the_store_was_away(bench: Bench) -> None:
    key = bench.key(limits=Limits(max_concurrency=1, tpm=1000))
    held = bench.ask(key, NOON, 100, "long")
    later = NOON + 40 * SECOND
    bench.run(key, later, renewed=held.holds)
    assert bench.ask(key, later).reason == "max_concurrency"
    bench.call("FLUSHALL")
    bench.run(key, later, renewed=held.holds)
    assert bench.ask(key, later).reason == "max_concurrency"


# Modes ------------------------------------------------------------------------------------------


def test_shadow_lets_through_and_counts_what_enforcing_would_refuse(bench: Bench) -> None:
    limits = Limits(rpm=3, max_concurrency=50)
    enforced, shadow = bench.key(limits=limits), bench.key(limits=limits, enforcement="shadow")
    for now in range(NOON, NOON + 100 * SECOND, 7 * SECOND):
        strict, lax = bench.ask(enforced, now), bench.ask(shadow, now)
        assert lax.allowed
        assert lax.shadow == strict.reason
        assert lax.reason == ""


def test_an_enforced_limit_counts_what_a_shadow_limit_would_have_refused(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=3, max_concurrency=1, enforcement={"max_concurrency": "shadow"}))
    answers = [bench.ask(key, NOON, name=f"r{n}") for n in range(4)]
    assert [(answer.reason, answer.shadow) for answer in answers] == [
        ("", ""),
        ("", "max_concurrency"),
        ("", "max_concurrency"),
        ("rpm", ""),
    ]


@pytest.mark.parametrize(
    ("own", "key", "sidecar", "mode"),
    [
        (None, None, "enforce", "enforce"),
        (None, None, "shadow", "shadow"),
        (None, "enforce", "off", "enforce"),
        (None, "off", "enforce", None),
        ("off", "enforce", "enforce", None),
        ("shadow", "enforce", "enforce", "shadow"),
        ("enforce", "off", "off", "enforce"),
    ],
)
def test_the_narrowest_mode_counts(own: Enforcement | None, key: Enforcement | None, sidecar: Enforcement, mode: str | None) -> None:
    modes = {"rpm": own} if own else None
    made = plan(Key(id="key_1", name="", created_at=0, limits=Limits(rpm=5, enforcement=modes), enforcement=key), sidecar)
    assert (made is None) == (mode is None)
    if made is not None:
        assert made.arguments[3] == {"enforce": "5", "shadow": "~5"}[mode or ""]
        assert made.enforced == (mode == "enforce")


def test_many_in_one_turn(bench: Bench) -> None:
    key = bench.key(limits=Limits(rpm=100, tpm=10**9, max_concurrency=200))
    answers = bench.run(key, NOON, asking=[(f"r{n}", 10) for n in range(256)])
    assert sum(answer.allowed for answer in answers) == 100
    bench.run(key, NOON, ended=[hold for answer in answers for hold in ended(answer, 10)])
    assert bench.call("ZCARD", plan(key, "enforce").names[2]) == 0  # type: ignore[union-attr]
