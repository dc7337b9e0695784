from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from sidecar.events.record import Tokens
from sidecar.hubs.ledger import Entry, entries_of

CALL: dict[str, Any] = {
    "id": "780252160259624960",
    "model": "gpt-5-mini",
    "usageMetrics": {
        "inputTokens": 10,
        "outputTokens": 5,
        "totalTokens": 15,
        "cacheCreationInputTokens": 2,
        "cacheReadInputTokens": 3,
        "numberOfImageGeneration": 1,
    },
    "credits": 0.02,
    "status": "success",
    "appDid": "key_1@sidecar",
    "requestId": "req-abc-2",
    "metadata": {"startTime": 1795485811, "phase": "completed", "completedAt": 1795485813},
    "callTime": 1795485811,
}


def test_an_entry_as_the_hub_writes_it() -> None:
    entry = Entry("req-abc-2", 1795485811, 1795485813, True, Tokens(10, 5, 3, 2, 0.02, 1), "780252160259624960")
    assert entries_of({"count": 1, "list": [CALL]}) == [entry]


@pytest.mark.parametrize(("status", "final"), [("success", True), ("failed", True), ("processing", False), (None, False), ([], False)])
def test_what_is_under_way_is_not_final(status: Any, final: bool) -> None:
    assert entries_of({"list": [{**CALL, "status": status}]})[0].final is final


@pytest.mark.parametrize("document", [None, [], {}, {"list": None}, {"list": {}}, {"error": "User not authenticated"}])
def test_what_is_no_list_is_refused(document: Any) -> None:
    with pytest.raises(ValueError):
        entries_of(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)
)


@given(st.dictionaries(st.sampled_from(sorted(CALL)), JSON))
def test_garbage_counts_as_nothing_said(garbage: dict[str, Any]) -> None:
    (entry,) = entries_of({"list": [{**CALL, **garbage}]})
    assert all(figure >= 0 for figure in (entry.started, entry.ended, *astuple(entry.tokens)))


@pytest.mark.parametrize("figure", [True, -1, "10", 1.5, [10], None, 1 << 40])
def test_a_figure_that_is_garbage_spoils_no_other(figure: Any) -> None:
    metrics = {**CALL["usageMetrics"], "inputTokens": figure}
    assert entries_of({"list": [{**CALL, "usageMetrics": metrics}]})[0].tokens == Tokens(0, 5, 3, 2, 0.02, 1)


@pytest.mark.parametrize("odd", [None, 7, "x", [], [CALL]])
def test_what_is_no_call_keeps_its_place(odd: Any) -> None:
    """By the length of a page it is known whether there is another one."""
    first, second = entries_of({"list": [odd, CALL]})
    assert first == Entry("", 0.0, 0.0, False, Tokens())
    assert second.request_id == CALL["requestId"]
