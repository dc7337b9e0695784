"""Events: one for each request, and interim ones that never count twice."""

from __future__ import annotations

import pytest

from sidecar.events.record import Interim, Request
from sidecar.keys.token import generate
from sidecar.worker.meter import Meter, Record
from tests.worker.plane import Events


def test_a_record_becomes_one_event() -> None:
    events = Events()
    meter = Meter(events, lambda: 1000.0, lambda: 7.5)
    record = Record("req_1", 5.0)
    record.model = "m-" * 250
    record.answered(200)
    meter.finish(record)
    meter.finish(record)
    (event,) = events.requests
    assert (event.time, event.total, event.status, event.outcome, len(event.model)) == (1000.0, 2.5, 200, "ok", 128)


def test_a_key_in_the_wrong_place_is_not_kept() -> None:
    events, key = Events(), generate("ahk")
    meter = Meter(events, lambda: 1000.0, lambda: 7.5)
    record = Record("req_1", 5.0)
    record.path, record.model, record.model_served = f"/v1/{key}", "x" * 100 + "-" + key, key
    meter.finish(record)
    (event,) = events.requests
    assert (event.path, event.model, event.model_served) == ("/v1/ahk_…", "…-ahk_…", "ahk_…")


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [(200, "ok", ""), (302, "ok", ""), (400, "client_error", "4xx"), (402, "hub_error", "4xx"), (404, "client_error", "4xx"), (429, "hub_error", "4xx"), (500, "hub_error", "5xx")],
)  # fmt: skip
def test_the_hubs_status_says_whose_fault_it_is(status: int, outcome: str, reason: str) -> None:
    record = Record("req_1", 0.0)
    record.answered(status)
    assert (record.outcome, record.reason) == (outcome, reason)


def test_interim_events_tell_only_what_moved_since_the_last() -> None:
    now = 0.0
    events = Events()
    meter = Meter(events, lambda: now, lambda: now)
    record = Record("req_1", 0.0)
    for at, moved in ((10.0, 5), (61.0, 7), (62.0, 8), (130.0, 20)):
        now = at
        record.bytes_out = moved
        meter.progress(record)
    meter.finish(record)
    interim = [event for event in events.all if isinstance(event, Interim)]
    assert [event.bytes_out for event in interim] == [7, 13]
    last = events.all[-1]
    assert isinstance(last, Request) and (last.bytes_out, last.interim_out) == (20, 20)


def test_bytes_of_an_interim_event_that_was_dropped_are_told_by_the_next() -> None:
    now = 0.0
    events = Events()
    meter = Meter(events, lambda: now, lambda: now)
    record = Record("req_1", 0.0)
    for at, moved, full in ((61.0, 7, False), (122.0, 20, True), (183.0, 50, False)):
        now, events.full = at, full
        record.bytes_in, record.bytes_out = 2 * moved, moved
        meter.progress(record)
    meter.finish(record)
    told = [(event.bytes_in, event.bytes_out) for event in events.all if isinstance(event, Interim)]
    assert told == [(14, 7), (86, 43)]
    last = events.all[-1]
    assert isinstance(last, Request) and (last.interim_in, last.interim_out) == (100, 50)
