from __future__ import annotations

from typing import Any

import pytest

from sidecar.control.reconcile.match import by_request, drift, is_untold, metered_routes, missing
from sidecar.events.record import NO_TOKENS, Tokens
from sidecar.hubs.ledger import Entry
from sidecar.hubs.load import load_profile
from tests.control.support.events import denied, key_id, request

A = key_id(1)


def entry(request_id: str, tokens: Tokens = NO_TOKENS, *, started: float = 100, ended: float = 101, final: bool = True) -> Entry:
    return Entry(request_id, started, ended, final, tokens)


def test_only_routes_that_the_hub_bills_to_a_key() -> None:
    routes = metered_routes(load_profile("aigne"))
    assert {"chat", "chat-completions", "image", "embeddings"} <= routes
    assert not routes & {"audio-transcriptions", "audio-speech", "status", "models"}


@pytest.mark.parametrize(
    ("changes", "untold"),
    [
        ({"usage_source": "none", "tokens": NO_TOKENS}, True),
        ({"usage_source": "partial"}, True),
        ({"usage_source": "hub"}, True),
        ({"usage_source": "hub", "tokens": Tokens(1, 2, credits=0.1)}, False),
        ({"usage_source": "none", "hub_status": 300, "status": 300}, False),
        ({"usage_source": "none", "hub_status": 400, "status": 400}, False),
        ({"usage_source": "none", "hub_status": 500, "status": 500}, False),
        ({"usage_source": "none", "hub_status": 0, "ending": "client_closed"}, True),
        ({"usage_source": "none", "hub_status": 0, "ending": "timeout"}, True),
        *(
            ({"usage_source": "none", "hub_status": 0, "ending": ending}, True)
            for ending in ("hub_aborted", "revoked", "shutdown", "drained")
        ),
        ({"usage_source": "none", "hub_status": 0, "ending": "refused"}, False),
        ({"usage_source": "none", "hub_status": 0, "ending": "complete"}, False),
        ({"usage_source": "none", "key_id": ""}, False),
    ],
)
def test_which_calls_need_the_ledger(changes: dict[str, Any], untold: bool) -> None:
    assert is_untold(request(**{"key": A, **changes} if "key_id" not in changes else changes)) is untold


def test_a_refusal_needs_no_ledger() -> None:
    assert not is_untold(denied(A))


def test_what_the_ledger_adds() -> None:
    silent = request(A, tokens=NO_TOKENS, usage_source="none")
    told = request(A, tokens=Tokens(10, 5, 1))
    bill = Tokens(12, 4, 1, 2, 0.5, 1)
    assert missing(silent, [entry("x", bill)]) == bill
    assert missing(told, [entry("x", bill)]) == Tokens(2, 0, 0, 2, 0.5, 1), "what the answer said stays said"
    assert missing(told, [entry("x", told.tokens)]) == NO_TOKENS


def test_a_hub_that_tried_twice_bills_both() -> None:
    call = request(A, tokens=NO_TOKENS, usage_source="none")
    assert missing(call, [entry("x", Tokens(1, 0)), entry("x", Tokens(1, 2))]) == Tokens(2, 2)
    assert missing(call, [entry("x", Tokens(1, 0)), entry("x", Tokens(1, 2), final=False)]) is None
    assert missing(call, []) is None


def test_groups() -> None:
    assert {name: len(found) for name, found in by_request([entry("a"), entry("b"), entry("a")]).items()} == {"a": 2, "b": 1}


def test_drift_is_what_the_ledger_has_beyond_the_count() -> None:
    calls = {
        "same": request(A, time=150.0, tokens=Tokens(10, 5)),
        "more": request(A, time=150.0, tokens=Tokens(10, 5)),
        "unlisted": request(A, time=150.0, tokens=Tokens(3, 4)),
        "too early": request(A, time=101.0, total=0.5, tokens=Tokens(1000)),
        "too late": request(A, time=199.0, tokens=Tokens(1000)),
    }
    listed = [
        entry("same", Tokens(10, 5), started=149),
        entry("more", Tokens(12, 5), started=149),
        entry("more", Tokens(0, 1), started=149),
        entry("unseen", Tokens(40, 2), started=150, ended=151),
        entry("begun before", Tokens(1000), started=101, ended=150),
        entry("under way", Tokens(1000), started=150, ended=199),
        entry("not final", Tokens(1000), started=150, ended=151, final=False),
    ]
    assert drift(listed, {"same": calls["same"]}, 100, 200) == 12 + 5 + 1 + 42
    assert drift(listed, calls, 100, 200) == 0 + 3 + 42 - 7
    assert drift([], {}, 100, 200) == 0


def test_what_is_not_final_is_on_neither_side_of_the_drift() -> None:
    call = request(A, time=104.0, total=1.0, tokens=Tokens(10, 5))
    for open_one in (entry("x", Tokens(1, 1), final=False), entry("x", final=False)):
        assert drift([open_one], {"x": call}, 90, 120) == 0
        assert drift([entry("x", Tokens(4, 1)), open_one], {"x": call}, 90, 120) == 0
    assert drift([entry("x", Tokens(10, 7))], {"x": call}, 90, 120) == 2
    assert drift([], {"x": call}, 90, 120) == -15
