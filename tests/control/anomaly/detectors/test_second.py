from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from sidecar.control.anomaly.detectors.amounts import PLACES, SERVED
from sidecar.control.anomaly.detectors.second import NO_KEY, TOLD_APART, Second, SecondSums
from sidecar.control.anomaly.detectors.signals import MINUTE
from sidecar.control.anomaly.detectors.windows import STEP
from sidecar.events.record import Request, Tokens
from tests.control.anomaly.life import amounts, served
from tests.control.support.events import sums_of

OUTCOMES = ("ok", "denied", "rate_limited", "client_error", "hub_error", "client_closed", "sidecar_error")


def _request(key_id: str, outcome: str, client: str, model: str, time: float = 100.0) -> Request:
    return Request(
        time, "r", key_id, "s", outcome, "code", 200, 200, "POST", "chat", "/", model, model, client, "agent", False, "complete",
        0.1, 0.0, 0.0, 0.0, 0.0, 1, 1, Tokens(3, 4), "hub",
    )  # fmt: skip


REQUESTS = st.lists(
    st.builds(
        _request,
        st.sampled_from(["a", "b", ""]),
        st.sampled_from(OUTCOMES),
        st.sampled_from(["x", "y"]),
        st.sampled_from(["m", "n"]),
        st.integers(100, 130).map(float),
    )
)


def _counted(requests: Sequence[Request]) -> SecondSums:
    seconds = SecondSums()
    for row in sums_of(*requests).rows:
        seconds.count(row)
    return seconds


@given(REQUESTS)
def test_every_request_is_counted_once_under_its_key(requests: Sequence[Request]) -> None:
    seconds = _counted(requests)
    left = {key_id: [request for request in requests if request.key_id == key_id] for key_id in ("a", "b", "")}
    for second in seconds.take(1000, 100):
        mine = left.pop(second.key_id)
        left[second.key_id] = [request for request in mine if request.time > second.time]
        mine = [request for request in mine if request.time <= second.time]
        answered = [request for request in mine if request.outcome in ("ok", "client_closed")]
        refused = [request for request in mine if request.outcome in ("denied", "rate_limited")]
        assert second.time == max(request.time for request in mine)
        assert sum(second.refusals.values()) == len(refused)
        assert sum(second.callers.values()) == len(answered)
        assert second.amounts == amounts(served=len(answered), refused=len(refused), tokens=7 * len(answered))
    assert len(seconds) == 0 and not any(left.values())


def test_of_what_the_hub_refused_the_caller_is_noted_and_nothing_is_counted() -> None:
    asked = _request("a", "client_error", "x", "m")
    by_hub, by_us = (_counted([replace(asked, reason=reason)]).take_all()[0] for reason in ("4xx", "invalid_request"))
    assert (by_hub.callers, by_us.callers) == ({("x", "agent", "m", "chat"): 0}, {})
    assert by_hub.amounts == by_us.amounts == amounts()
    (both,) = _counted([replace(asked, reason="4xx"), _request("a", "ok", "x", "m")]).take_all()
    assert both.callers == {("x", "agent", "m", "chat"): 1}


def test_take_gives_out_the_oldest_and_keeps_the_rest() -> None:
    sums = SecondSums()
    for index, time in enumerate((10, 11, 12)):
        sums.add(served(time, key=f"key_{index}"))
    sums.add(served(13, key="key_0"))
    assert [second.key_id for second in sums.take(11, 1)] == ["key_0"]
    assert [second.key_id for second in sums.take(11, 5)] == ["key_1"]
    assert list(sums.key_ids()) == ["key_2"]


def test_what_waited_long_is_not_taken_for_one_step() -> None:
    seconds = SecondSums()
    for spool in range(2):
        for row in sums_of(*(_request("a", "ok", "x", "m", 600.0 + 5 * number) for number in range(120))).rows:
            seconds.count(row)
        assert list(seconds.key_ids()) == ["a"], spool
    taken = seconds.take(2000, 100)
    assert [second.time for second in taken] == sorted(second.time for second in taken)
    assert sum(second.amounts[SERVED] for second in taken) == 240
    assert max(second.amounts[SERVED] for second in taken) <= 2 * 24, "no more than a minute's"
    assert len(seconds) == 0


def test_a_key_has_one_sum_within_a_minute_and_one_for_each_minute_around_it() -> None:
    sums = SecondSums()
    waiting = []
    for time in (600, 600 + MINUTE - 1, 600 + MINUTE, 600 + MINUTE + 5, 600 + 2 * MINUTE, 600 - MINUTE, 600 - MINUTE + 1):
        sums.add(served(time, key="key_0"))
        waiting.append(len(sums))
    assert waiting == [1, 1, 2, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("begun", "is_taken"), [(100, True), (101, False), (100 + 2 * STEP, False), (100 + 2 * STEP + 1, True), (100 + 9 * STEP, True)]
)
def test_what_began_a_moment_ago_waits_and_what_begins_much_later_does_not(begun: int, is_taken: bool) -> None:
    sums = SecondSums()
    sums.add(served(begun, key="key_0"))
    assert bool(sums.take(100, 5)) == is_taken


def test_of_too_many_a_tenth_is_forgotten_at_once() -> None:
    sums = SecondSums(capacity=100)
    for minute in range(100):
        sums.add(served(60 * minute, key="key_0"))
    assert len(sums) == 100
    sums.add(served(6000, key="key_0"))
    assert len(sums) == 91


def test_what_nobody_takes_for_hours_does_not_fill_the_memory() -> None:
    sums = SecondSums(capacity=100)
    for minute in range(1000):
        for key in ("key_0", "key_1"):
            sums.add(served(60 * minute, key=key))
    taken = sums.take_all()
    assert 90 <= len(taken) <= 102
    assert {second.time for second in taken} >= {60 * minute for minute in range(960, 1000)}, "the newest"


def test_keys_are_not_forgotten_for_others() -> None:
    sums = SecondSums(capacity=2)
    for number in range(5):
        sums.add(served(10, key=f"key_{number}"))
    assert len(sums.take_all()) == 5


def test_a_clock_that_was_put_back_holds_nothing_up() -> None:
    sums = SecondSums()
    sums.add(served(3600, key="key_0"))
    sums.add(served(10, key="key_1"))
    assert [second.key_id for second in sums.take(10, 5)] == ["key_1", "key_0"]


def test_open_requests_are_noted_only_for_keys_with_traffic() -> None:
    sums = SecondSums()
    sums.add(served(10, key="key_0"))
    sums.in_flight({"key_0": 4, "key_1": 9})
    sums.in_flight({"key_0": 2})
    assert [second.in_flight for second in sums.take(10, 5)] == [4]
    assert NO_KEY == ""


@given(REQUESTS, REQUESTS)
def test_sums_of_two_makers_are_the_sums_of_all_their_requests(one: Sequence[Request], other: Sequence[Request]) -> None:
    seconds, together = _counted(one), _counted([*one, *other])
    for second in _counted(other).take_all():
        seconds.add(second)
    taken = seconds.take_all()
    assert {second.key_id: second for second in taken} == {second.key_id: second for second in together.take_all()}
    assert len(taken) == len({request.key_id for request in [*one, *other]})
    assert len(seconds) == 0


@pytest.mark.parametrize("places", [0, PLACES - 1, PLACES + 1])
def test_what_another_version_sums_is_taken_as_far_as_it_is_known(places: int) -> None:
    known = min(places, PLACES)
    sums = SecondSums()
    for _ in range(2):
        sums.add(Second("a", 1, [1] * places, callers={}, refusals={}))
        sums.add(Second("a", 2, [1] * PLACES, callers={}, refusals={}))
        (second,) = sums.take_all()
        assert second.amounts == [2] * known + [1] * (PLACES - known)
        sums.add(Second("a", 2, [1] * PLACES, callers={}, refusals={}))
        sums.add(Second("a", 1, [1] * places, callers={}, refusals={}))
        (second,) = sums.take_all()
        assert second.amounts == [2] * known + [1] * (PLACES - known)


def test_calls_that_only_the_ledger_adds_to_are_not_traffic() -> None:
    seconds = SecondSums()
    (row,) = sums_of(_request("a", "ok", "x", "m")).rows
    row.requests = 0
    seconds.count(row)
    assert len(seconds) == 0


def test_the_most_open_requests_of_a_key_are_kept() -> None:
    one, other = Second("a", 1), Second("a", 2, in_flight=3)
    one.add(other)
    one.add(Second("a", 2, in_flight=2))
    assert (one.time, one.in_flight) == (2, 3)
    assert structs.astuple(Second("a", 1)) == ("a", 1, amounts(), 0, {}, {})


def test_calls_that_a_change_of_their_key_cut_off_presented_nothing_after_it() -> None:
    cut = replace(_request("a", "denied", "x", "m"), reason="api_key_revoked", ending="revoked")
    (second,) = _counted([cut]).take_all()
    assert (second.amounts, second.refusals) == (amounts(refused=1), {})
    (second,) = _counted([cut, replace(cut, ending="refused")]).take_all()
    assert second.refusals == {("x", "api_key_revoked", "m"): 1}


@pytest.mark.parametrize(("outcome", "reason"), [("rate_limited", "abnormal_usage_detected"), ("denied", "api_key_disabled")])
def test_what_an_act_of_ours_refuses_tells_nothing_about_the_key(outcome: str, reason: str) -> None:
    refused = _request("a", outcome, "x", "m")
    (second,) = _counted([replace(refused, reason=reason), replace(refused, reason="insufficient_quota")]).take_all()
    assert second.amounts == amounts(refused=1)


def _second() -> Second:
    return Second("a", 1, callers={}, refusals={})


def test_of_too_many_callers_the_agent_is_told_ever_less() -> None:
    second = _second()
    for number in range(TOLD_APART):
        second.count_caller(("x", f"app/{number}", "m", "chat"), 1)
    assert len(second.callers) == TOLD_APART == 250
    for number in range(TOLD_APART):
        second.count_caller(("x", f"app/{number}", "m", "chat"), 1)
        second.count_caller(("x", f"App/{number} more", "m", "chat"), 2)
    assert second.callers.pop(("x", "app", "m", "chat")) == 2 * TOLD_APART, "by its program"
    assert set(second.callers.values()) == {2} and len(second.callers) == TOLD_APART
    for number in range(TOLD_APART):
        second.count_caller(("x", f"app{number}/1", "m", "chat"), 1)
    assert ("x", f"app{TOLD_APART - 1}", "m", "chat") in second.callers
    assert len(second.callers) == 2 * TOLD_APART
    second.count_caller(("x", "another/1", "m", "chat"), 3)
    second.count_caller(("x", "one more/1", "m", "chat"), 4)
    second.count_caller(("x", "app0", "m", "chat"), 5)
    assert second.callers[("x", "", "m", "chat")] == 7, "not at all"
    assert second.callers[("x", "app0", "m", "chat")] == 6
    assert len(second.callers) == 2 * TOLD_APART + 1


def test_callers_from_ever_new_addresses_are_noted_up_to_a_bound() -> None:
    second = _second()
    for number in range(5 * TOLD_APART):
        second.count_caller((f"address {number}", "app/1", "m", "chat"), 1)
    assert len(second.callers) == 4 * TOLD_APART
    assert (f"address {4 * TOLD_APART - 1}", "", "m", "chat") in second.callers
    # Those that are known already go on counting.
    second.count_caller((f"address {4 * TOLD_APART - 1}", "other", "m", "chat"), 1)
    second.count_caller(("address 0", "app/1", "m", "chat"), 1)
    assert second.callers[(f"address {4 * TOLD_APART - 1}", "", "m", "chat")] == 2
    assert second.callers[("address 0", "app/1", "m", "chat")] == 2
    assert len(second.callers) == 4 * TOLD_APART


def test_of_too_many_refusals_the_model_and_then_the_address_goes_but_none_is_lost() -> None:
    second = _second()
    for number in range(2 * TOLD_APART):
        second.count_refusal(("x", "model_not_allowed", f"m{number}"), 1)
    second.count_refusal(("x", "model_not_allowed", "m0"), 1)
    assert len(second.refusals) == TOLD_APART + 1
    assert second.refusals[("x", "model_not_allowed", "")] == TOLD_APART
    assert second.refusals[("x", "model_not_allowed", "m0")] == 2
    for number in range(4 * TOLD_APART):
        second.count_refusal((f"address {number}", "invalid_api_key", ""), 1)
    assert len(second.refusals) == 4 * TOLD_APART + 1
    assert (f"address {3 * TOLD_APART - 2}", "invalid_api_key", "") in second.refusals
    assert second.refusals[("", "invalid_api_key", "")] == TOLD_APART + 1
    second.count_refusal(("address 0", "invalid_api_key", "m"), 1)
    assert second.refusals[("address 0", "invalid_api_key", "")] == 2
    assert sum(second.refusals.values()) == 6 * TOLD_APART + 2


@pytest.mark.parametrize("outcome", ["ok", "denied"])
def test_a_client_with_another_name_each_time_does_not_fill_the_memory(outcome: str) -> None:
    requests = [
        replace(_request("a", outcome, f"2001:db8::{number:x}", f"m{number}"), agent=f"app{number}") for number in range(5 * TOLD_APART)
    ]
    (counted,) = _counted(requests).take_all()
    assert counted.amounts == (
        amounts(served=len(requests), tokens=7 * len(requests)) if outcome == "ok" else amounts(refused=len(requests))
    )
    assert len(counted.callers) + len(counted.refusals) <= 4 * TOLD_APART + 1
    # Neither do the sums of many makers.
    added = _second()
    for part in range(5):
        for second in _counted(requests[part * TOLD_APART : (part + 1) * TOLD_APART]).take_all():
            added.add(second)
    assert (added.callers, added.refusals) == (counted.callers, counted.refusals)
