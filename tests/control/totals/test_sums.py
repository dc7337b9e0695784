from __future__ import annotations

import random

import msgspec

from sidecar.control.totals.buckets import DURATION
from sidecar.control.totals.sums import Sums
from sidecar.events.record import NO_TOKENS, Reconciled, Request, Tokens, Traits
from sidecar.events.wire import HEAD_SIZE, decode_ids, encode
from sidecar.limits.reservation import counted
from tests.control.support.events import callers_of, key_id, request, state, sums_of


def some(count: int) -> list[Request]:
    chance = random.Random(5)
    return [
        request(
            key_id(chance.randrange(3)),
            time=1_700_000_000 + chance.random() * 200,
            client=f"10.0.0.{chance.randrange(4)}",
            outcome=chance.choice(["ok", "hub_error"]),
            total=chance.random() * 3,
            tokens=Tokens(chance.randrange(50), chance.randrange(50)),
            quota_period=chance.choice(["", "2026-11/req/10"]),
        )
        for _ in range(count)
    ]


def test_rows_hold_all_that_was_there() -> None:
    events = some(500)
    sums = sums_of(*events)
    rows = list(sums.rows)
    assert len(rows) < 50
    assert sum(row.requests for row in rows) == 500
    assert sum(row.input for row in rows) == sum(event.tokens.input for event in events)
    assert sum(row.bytes_out for row in rows) == sum(event.bytes_out for event in events)
    assert sum(callers_of(row).total() for row in rows) == 500
    assert sorted(record for block in sums.blocks.values() for record in block.records) == sorted(map(encode, events))
    assert sum(len(row.quota or []) for row in rows) == sum(bool(event.quota_period) for event in events)
    for row in rows:
        alike = [event for event in events if _like(event, event.time) == _like(row.traits, row.first)]
        assert row.requests == len(alike)
        assert (row.first, row.last) == (min(event.time for event in alike), max(event.time for event in alike))


def test_histograms_count_each_request_once() -> None:
    events = some(300)
    sums = sums_of(*events)
    total = [0] * (len(DURATION) + 1)
    for _, latency in sums.latencies:
        total = [one + other for one, other in zip(total, latency.total, strict=True)]
    bounds = [0.0, *DURATION, float("inf")]
    for index, count in enumerate(total):
        assert count == sum(bounds[index] < event.total <= bounds[index + 1] for event in events)


def test_a_refused_request_settles_its_quota_too() -> None:
    sums = sums_of(request(key_id(1), hub_status=0, quota_period="2026-11/r/5", tokens=Tokens(3, 4)))
    assert [settled for row in sums.rows for settled in row.quota or []] == [("2026-11/r/5", 7)]


def test_a_quota_is_settled_by_what_counts_for_a_limit() -> None:
    """Else the hold that it ends, and `tpm`, would know of other tokens."""
    period, cached = "2026-11/r/5", Tokens(3, 4, 50, 7)
    call = request(key_id(1), tokens=Tokens(3, 4), usage_source="partial", quota_period=period)
    sums = sums_of(request(key_id(1), tokens=cached, quota_period=period), Reconciled(call.time + 600, call, Tokens(0, 0, 20)))
    assert sorted(amount for row in sums.rows for _, amount in row.quota or []) == [17, counted(cached)]


def test_what_cannot_be_read_is_passed_over() -> None:
    good = encode(request())
    untold = bytearray(good)
    untold[HEAD_SIZE] = 0xC1
    sums = Sums()
    sums.add([good, b"\xc1", b"", bytes(untold), encode(state()), b"\x92\xa1z\x01", good[:HEAD_SIZE], good])
    assert [row.requests for row in sums.rows] == [2]
    assert len(sums.states) == 1


def test_a_request_that_an_earlier_version_wrote_is_counted() -> None:
    event = request(key_id(1), tokens=Tokens(3, 4))
    sums = Sums()
    older = msgspec.msgpack.encode(event)
    sums.add([older, encode(event)])
    (row,) = sums.rows
    assert (row.requests, row.input, row.output) == (2, 6, 8)
    assert [record for block in sums.blocks.values() for record in block.records] == [older, encode(event)]


def test_the_call_log_gets_what_is_kept_of_a_record() -> None:
    events = [request(key_id(1)), request(key_id(2))]
    sums = Sums()
    sums.add([encode(event) for event in events], [b"one", b"two"])
    assert sorted(record for block in sums.blocks.values() for record in block.records) == [b"one", b"two"]
    assert {row.traits.key_id for row in sums.rows} == {key_id(1), key_id(2)}


def _like(traits: Request | Traits, time: float) -> tuple[object, ...]:
    return (time // 60, traits.key_id, traits.outcome)


def test_what_the_ledger_adds_makes_a_row_of_its_own_in_the_calls_minute() -> None:
    key = key_id(1)
    call = request(key, tokens=NO_TOKENS, usage_source="none", quota_period="2026-11-24/x/5")
    partial = request(key, tokens=Tokens(1), usage_source="partial")
    added = [Reconciled(call.time + 600, call, Tokens(7, 8, 1, 2, 0.5, 3)), Reconciled(call.time + 600, partial, Tokens(0, 4))]
    sums = sums_of(call, partial, *added)
    rows = [row for row in sums.rows if row.reconciled]
    assert sum(row.requests for row in sums.rows) == 2 and not any(row.requests for row in rows)
    assert [(row.reconciled, row.input, row.output, row.images, row.credits, row.bytes_in, row.duration) for row in rows] == [
        (1, 7, 8, 3, 0.5, 0, 0),
        (1, 0, 4, 0, 0, 0, 0),
    ]
    assert {int(row.first) // 60 for row in rows} <= {int(call.time) // 60, int(partial.time) // 60}
    assert rows[0].quota == [(call.quota_period, 15)]
    assert len({id(latency) for _, latency in sums.latencies}) == 1
    ((_, latency),) = sums.latencies
    assert sum(latency.total) == sum(latency.first_byte) == 2, "times are those of the calls alone"
    assert sum(latency.input) == sum(latency.output) == 2, "two metered calls: one by its answer, one by the ledger"
    assert latency.output_sum == 8
    assert sum(len(block.records) for block in sums.blocks.values()) == 4


def test_the_one_slow_request_among_many_alike_has_an_example() -> None:
    calls = [request(key_id(1), time=5.0, total=9.0 if number == 57 else 0.01, request_id=f"r{number}") for number in range(100)]
    ((_, latency),) = sums_of(*calls).latencies
    assert sorted(decode_ids(ids).request_id for ids, _, _ in latency.durations.values()) == ["r0", "r57"]
