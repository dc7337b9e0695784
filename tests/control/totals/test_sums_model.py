"""Sums beside a plain model that looks at one event after the other."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from sidecar.control.totals.buckets import DURATION, FIRST_BYTE, OVERHEAD, TOKENS
from sidecar.control.totals.rows import STEP, Block, Figures, Latency
from sidecar.control.totals.sums import Sums
from sidecar.events.record import Event, Interim, Reconciled, Request, Tokens, Traits
from sidecar.events.wire import decode_ids, encode
from sidecar.store.names import KEYLESS, shard_of
from tests.control.support.events import callers_of, key_id, request, state, sums_of

_counts = st.integers(0, 1 << 40)
_seconds = st.one_of(st.sampled_from([0.0, 0.0005, 0.005, 1.0, 300.0]), st.floats(0, 400))
_requests = st.builds(
    request,
    st.sampled_from(["", key_id(1), key_id(2)]),
    # Around a minute's and an hour's edge, and in any order.
    time=st.one_of(st.sampled_from([0.25, 59.5, 60.0, 3599.5, 3600.0]), st.floats(0.25, 130)),
    outcome=st.sampled_from(["ok", "hub_error"]),
    status=st.sampled_from([200, 201, 502]),
    hub_status=st.sampled_from([0, 200]),
    model_served=st.sampled_from(["", "served"]),
    client=st.sampled_from(["192.0.2.7", "192.0.2.8"]),
    agent=st.sampled_from(["a", "b"]),
    path=st.sampled_from(["/a", "/b"]),
    streaming=st.booleans(),
    ending=st.sampled_from(["complete", "drained", "revoked"]),
    total=_seconds, auth=_seconds, queue=_seconds, first_byte=_seconds, hub_time=_seconds, bytes_in=_counts, bytes_out=_counts,
    tokens=st.builds(Tokens, _counts, _counts, _counts, _counts, _seconds, st.integers(0, 9)),
    usage_source=st.sampled_from(["none", "hub", "partial"]),
    interim_in=st.integers(0, 9), interim_out=st.integers(0, 9),
    quota_period=st.sampled_from(["", "2026-11/req/10"]), shadow=st.sampled_from(["", "ip_not_allowed"]),
)  # fmt: skip
_interims = st.builds(Interim, st.floats(0, 130), st.just("req_1"), st.just(key_id(1)), _counts, _counts)
_reconciled = st.builds(
    Reconciled,
    st.floats(1000, 2000),
    _requests.filter(lambda call: bool(call.key_id)),
    st.builds(Tokens, _counts, _counts, _counts, _counts, _seconds, st.integers(0, 9)),
)
_APART = (
    "key_id", "secret_id", "outcome", "reason", "route", "model", "status", "method", "model_served", "streaming", "usage_source",
    "secret_state", "shadow",
)  # fmt: skip


@dataclasses.dataclass
class Expected:
    """What a row should hold."""

    requests: int = 0
    reconciled: int = 0
    figures: list[float] = dataclasses.field(default_factory=lambda: [0.0] * 11)
    """Duration, bytes, those told before, and then what was used, as Tokens has it."""
    times: list[float] = dataclasses.field(default_factory=list)
    callers: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    quota: Counter[tuple[str, int]] = dataclasses.field(default_factory=Counter)
    ids: set[str] = dataclasses.field(default_factory=set)

    def add(self, call: Request, figures: Sequence[float], settled: int) -> None:
        self.figures = [one + other for one, other in zip(self.figures, figures, strict=True)]
        self.times.append(call.time)
        if call.quota_period:
            self.quota[call.quota_period, settled] += 1


class Histograms:
    """What a Latency should hold: the values themselves."""

    def __init__(self) -> None:
        self.total: list[float] = []
        self.auth: list[float] = []
        self.proxy: list[float] = []
        self.first_byte: list[float] = []
        self.input: list[float] = []
        self.output: list[float] = []

    def agree(self, latency: Latency) -> None:
        bounds = {"total": DURATION, "auth": OVERHEAD, "proxy": OVERHEAD, "first_byte": FIRST_BYTE, "input": TOKENS, "output": TOKENS}
        for name, values in vars(self).items():
            counts = [0] * (len(bounds[name]) + 1)
            for value in values:
                counts[bisect_left(bounds[name], value)] += 1
            assert getattr(latency, name) == counts
            assert getattr(latency, name + "_sum") == sum(map(_in_steps, values)), "to the last digit, in whatever order"


def _in_steps(seconds: float) -> float:
    return round(seconds / STEP) * STEP


def _counted(*parts: Tokens) -> int:
    """What counts for limits of tokens that were told in parts."""
    read, written, cached, created = (sum(astuple(part)[place] for part in parts) for place in range(4))
    return max(read, cached + created) + written


def _like(traits: Request | Traits, time: float, *, ledger: bool) -> tuple[object, ...]:
    names = [name for name in _APART if not ledger or name not in ("secret_id", "secret_state", "shadow")]
    return (ledger, not ledger and traits.ending == "revoked", time // 60, *(getattr(traits, name) for name in names))


def _labels(call: Request) -> tuple[object, ...]:
    return (call.route, call.method, call.status // 100, call.streaming, call.model_served or call.model)


def _model(events: Sequence[Event]) -> tuple[dict[tuple[object, ...], Expected], dict[tuple[object, ...], Histograms]]:
    rows: defaultdict[tuple[object, ...], Expected] = defaultdict(Expected)
    latencies: defaultdict[tuple[object, ...], Histograms] = defaultdict(Histograms)
    for event in events:
        call = event.request if isinstance(event, Reconciled) else event
        if not isinstance(call, Request):
            continue
        row = rows[_like(call, call.time, ledger=isinstance(event, Reconciled))]
        seen = latencies[_labels(call)]
        if isinstance(event, Reconciled):
            row.reconciled += 1
            row.add(call, [0.0, 0.0, 0.0, 0.0, 0.0, *astuple(event.tokens)], _counted(call.tokens, event.tokens) - _counted(call.tokens))
            if call.usage_source == "none":
                seen.input.append(event.tokens.input)
                seen.output.append(event.tokens.output)
            continue
        metered = call.hub_status != 0 and call.usage_source != "none"
        used = astuple(call.tokens if metered else Tokens())
        row.requests += 1
        row.callers[call.client, call.agent] += 1
        row.ids.add(call.request_id)
        moved = [call.bytes_in - call.interim_in, call.bytes_out - call.interim_out, call.interim_in, call.interim_out]
        row.add(call, [_in_steps(call.total), *moved, *used], _counted(call.tokens))
        seen.total.append(call.total)
        seen.auth.append(call.auth)
        if call.hub_status:
            seen.proxy.append(max(0.0, call.total - call.hub_time - call.auth - call.queue))
            seen.first_byte.append(call.first_byte)
        if metered:
            seen.input.append(call.tokens.input)
            seen.output.append(call.tokens.output)
    return rows, latencies


@given(st.lists(st.one_of(_requests, _requests, _reconciled, _interims), max_size=30))
def test_sums_are_those_of_the_events_one_by_one(events: list[Event]) -> None:
    sums = sums_of(*events)
    expected, latencies = _model(events)
    rows = {_like(row.traits, row.first, ledger=bool(row.reconciled)): row for row in sums.rows}
    assert rows.keys() == expected.keys() and len(rows) == sums.size
    for like, row in rows.items():
        mine = expected[like]
        assert (row.requests, row.reconciled, callers_of(row)) == (mine.requests, mine.reconciled, mine.callers)
        assert (row.first, row.last, row.shard) == (min(mine.times), max(mine.times), shard_of(row.traits.key_id))
        assert Counter(row.quota or ()) == mine.quota
        used = [row.input, row.output, row.cached_input, row.cache_creation, row.credits, row.images]
        assert [row.duration, row.bytes_in, row.bytes_out, row.told_in, row.told_out, *used] == pytest.approx(mine.figures)
        assert row.duration == mine.figures[0]
        assert row.values is None
    assert dict(sums.latencies).keys() == latencies.keys()
    for place, latency in sums.latencies:
        latencies[place].agree(latency)
    assert sums.interim == [event for event in events if isinstance(event, Interim)]


@given(st.lists(st.one_of(_requests, _reconciled), max_size=30))
def test_the_call_log_gets_every_record_once_by_shard_and_hour(events: list[Request | Reconciled]) -> None:
    places = defaultdict(list)
    for event in events:
        call = event.request if isinstance(event, Reconciled) else event
        places[shard_of(call.key_id) if call.key_id else KEYLESS, int(call.time // 3600)].append(encode(event))
    blocks = sums_of(*events).blocks
    assert {place: sorted(block.records) for place, block in blocks.items()} == {place: sorted(each) for place, each in places.items()}


_KIND = ("outcome", "reason", "route", "model", "model_served", "status", "method", "streaming")


def _kind(traits: Request | Traits, minute: float) -> tuple[object, ...]:
    return (minute, bool(traits.key_id), *(getattr(traits, name) for name in _KIND))


def _figures(figures: Figures) -> dict[str, float]:
    return {name: getattr(figures, name) for name in Figures.__slots__}


@given(st.lists(st.one_of(_requests, _reconciled), max_size=20), st.lists(_requests, max_size=5))
def test_kinds_add_up_what_rows_have_over_all_keys(events: list[Event], later: list[Event]) -> None:
    sums = sums_of(*events)
    for more in ([], later):
        sums.add([encode(event) for event in more])
        expected: defaultdict[tuple[object, ...], Figures] = defaultdict(Figures)
        for row in sums.rows:
            expected[_kind(row.traits, row.first // 60)].add(row)
            assert row.kind in list(sums.kinds)
        kinds = {_kind(kind.traits, kind.minute): kind for kind in sums.kinds}
        assert len(kinds) == len(list(sums.kinds))
        assert {like: _figures(kind.figures) for like, kind in kinds.items()} == {like: _figures(each) for like, each in expected.items()}


@given(st.lists(st.one_of(_requests, _reconciled), max_size=20))
def test_every_bucket_has_its_first_request_as_an_example(events: list[Request | Reconciled]) -> None:
    expected: defaultdict[tuple[object, ...], dict[tuple[str, int], tuple[str, float, float]]] = defaultdict(dict)
    for call in (event for event in events if isinstance(event, Request)):
        examples = expected[_labels(call)]
        examples.setdefault(("total", bisect_left(DURATION, call.total)), (call.request_id, call.total, call.time))
        if call.hub_status:
            examples.setdefault(("first_byte", bisect_left(FIRST_BYTE, call.first_byte)), (call.request_id, call.first_byte, call.time))
    found = {
        labels: {
            (name, bucket): (decode_ids(ids).request_id, value, time)
            for name, examples in (("total", latency.durations), ("first_byte", latency.first_bytes))
            for bucket, (ids, value, time) in examples.items()
        }
        for labels, latency in sums_of(*events).latencies
    }
    assert {labels: examples for labels, examples in found.items() if examples} == expected


@given(st.lists(_requests, max_size=15), st.lists(st.one_of(_requests, _interims), max_size=15))
def test_a_joined_stretch_has_the_rows_of_both(first: list[Event], second: list[Event]) -> None:
    one, other = sums_of(*first), sums_of(*second)
    joined = sums_of()
    joined.join(one)
    joined.join(other)
    assert list(joined.rows) == [*one.rows, *other.rows]
    assert list(joined.kinds) == [*one.kinds, *other.kinds]
    assert joined.size == one.size + other.size == len(list(joined.rows))
    assert joined.interim == [*one.interim, *other.interim]


def test_a_stretch_that_others_joined_keeps_its_own_rows() -> None:
    mine, others = sums_of(request(key_id(1))), sums_of(request(key_id(2)), request(key_id(3)))
    own = list(mine.rows)
    mine.join(others)
    assert list(mine.rows) == [*own, *others.rows] and mine.size == 3


def test_what_is_added_to_a_closed_stretch_has_rows_of_its_own() -> None:
    call = request(key_id(1), time=5.0)
    sums = sums_of(call, call)
    sums.close()
    sums.add([encode(call)])
    assert [row.requests for row in sums.rows] == [2, 1]
    assert [kind.figures.requests for kind in sums.kinds] == [3]
    sums.close()
    sums.add([encode(Reconciled(9.0, call, Tokens(1)))])
    assert [(row.requests, row.reconciled) for row in sums.rows] == [(2, 0), (1, 0), (0, 1)]


def test_a_minute_ends_with_its_last_second() -> None:
    calls = [request(key_id(1), time=time, total=time) for time in (59.5, 60.0, 60.5, 119.5, 120.0)]
    rows = list(sums_of(*calls).rows)
    assert [(row.first, row.last, row.requests) for row in rows] == [(59.5, 59.5, 1), (60.0, 119.5, 3), (120.0, 120.0, 1)]
    added = sums_of(*(Reconciled(500.0, call, Tokens(1)) for call in calls))
    assert [(row.first, row.last, row.reconciled) for row in added.rows] == [(59.5, 59.5, 1), (60.0, 119.5, 3), (120.0, 120.0, 1)]


def test_every_record_needs_one_that_is_kept() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Sums().add([encode(request())], [])


def test_requests_with_credits_are_told_from_those_without() -> None:
    (row,) = sums_of(*(request(key_id(1), time=5.0, tokens=Tokens(1, 2, credits=credits)) for credits in (0.0, 0.5, 1.5))).rows
    assert (row.priced, row.requests, row.credits) == (2, 3, 2.0)


def test_nothing_adds_up_to_nothing() -> None:
    sums = Sums()
    sums.add([encode(state())])
    assert not sums.size and not list(sums.rows) and not list(sums.latencies) and not sums.blocks
    block = Block()
    # The planner takes a block's span and mask from here.
    assert (block.first, block.last, block.mask, block.records) == (0.0, 0.0, 0, [])


@pytest.mark.parametrize(("total", "proxy"), [(1.0, 0.0), (2.0, 0.25)])
def test_the_sidecars_own_share_is_what_is_left_and_never_negative(total: float, proxy: float) -> None:
    ((_, latency),) = sums_of(request(total=total, hub_time=1.5, auth=0.125, queue=0.125)).latencies
    assert latency.proxy_sum == proxy and sum(latency.proxy) == 1
