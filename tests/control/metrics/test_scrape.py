from __future__ import annotations

import random
import time
from typing import get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar import refusals
from sidecar.control.metrics import catalogue
from sidecar.control.metrics.counts import Counter
from sidecar.control.metrics.key_use import KeyUse
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.scrape import Gauges, Scrape
from sidecar.control.metrics.state import Counts
from sidecar.control.networks import Networks
from sidecar.control.workers import FRESH, Workers
from sidecar.events.record import NO_LEASE, Event, Tokens
from sidecar.keys.record import Key
from sidecar.refusals import Outcome
from tests.control.support.events import denied, key_id, request, state, sums_of
from tests.support.keys import Clock

NOW = 1_700_000_000.0
NASTY = 'a "quoted" \\ back\nslash ✓'


class Page:
    """A scrape's world."""

    def __init__(self, *, limit: int = 100, key_info: bool = True, restored: bool = True, signals: Signals | None = None) -> None:
        self.keys = LabelledKeys(limit)
        self.counts = Counts()
        self.clock = Clock(NOW)
        self.workers = Workers(self.clock, since=NOW - 100)
        self.networks = Networks()
        self.counter = Counter(self.keys.label)
        self.scrape = Scrape(
            counts=self.counts,
            keys=self.keys,
            workers=self.workers,
            networks=self.networks,
            gauges=Gauges(),
            key_info=key_info,
            restored=lambda: restored,
            signals=signals or Signals(),
        )

    def key(self, number: int, **changes: object) -> None:
        self.keys.put(Key(id=key_id(number), name=f"n{number}", created_at=NOW - 100, **changes), NOW)  # type: ignore[arg-type]

    def feed(self, *events: Event, spool: str = "s") -> None:
        sums = sums_of(*events)
        self.counts.apply(self.counter.delta(sums))
        self.counts.observe(sums)
        self.workers.observe(spool, [], sums)
        KeyUse(self.keys, self.networks).observe("s", [], sums)

    def text(self, *, openmetrics: bool = False) -> str:
        return self.scrape.render(NOW, openmetrics=openmetrics).decode()

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parse_text(self.text())
            for sample in family.samples
        }

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.samples().get((name, tuple(sorted(labels.items()))))


class Signals:
    def __init__(self, *further: str) -> None:
        self.keys = [key_id(1), *further]

    def active(self) -> list[tuple[str, str]]:
        return [(key, "new_network") for key in self.keys]

    def raised(self) -> dict[tuple[str, str], int]:
        return {(key, "new_network"): 2 for key in self.keys}

    def weights(self) -> dict[str, float]:
        return {"new_network": 3}


def busy_page() -> Page:
    page = Page()
    page.key(1, owner=NASTY, expires_at=NOW + 500)
    page.key(2)
    page.feed(
        request(key_id(1), time=NOW - 5, trace_id="4bf92f3577b34da6a3ce929d0e0e4736", tokens=Tokens(10, 20, 5, 1, 0.5, 2)),
        request(key_id(1), time=NOW - 4, client="198.51.100.3", outcome="hub_error", reason="5xx", status=502),
        request(key_id(1), time=NOW - 3, usage_source="none"),
        denied(key_id(1), "api_key_revoked", time=NOW - 2),
        denied(time=NOW - 1),
        denied(reason=NASTY, time=NOW - 1),
        request(key_id(2), time=NOW - 1, shadow="rate_limit_exceeded", streaming=True, method=NASTY, route="r" * 500, model=NASTY),
        state(0, time=NOW - 0.5, in_flight={key_id(1): 3}, revocation_lags=[0.003]),
    )
    page.feed(state(1, time=NOW - 60, in_flight={key_id(1): 9}), spool="t")
    return page


def test_both_parsers_read_the_same() -> None:
    page = busy_page()
    text = list(parse_text(page.text()))
    strict = list(parse_openmetrics(page.text(openmetrics=True)))
    assert {sample.name: None for family in text for sample in family.samples} == {
        sample.name: None for family in strict for sample in family.samples
    }
    own = {family.name for family in catalogue.CATALOGUE}
    for family in strict:
        if family.name.startswith("sidecar_"):
            assert family.name in own or family.name + "_total" in own


def test_the_series_of_a_key() -> None:
    page = busy_page()
    key = key_id(1)
    assert page.value("sidecar_key_requests_total", key_id=key, outcome="ok", reason="") == 2
    assert page.value("sidecar_key_requests_total", key_id=key, outcome="hub_error", reason="5xx") == 1
    assert page.value("sidecar_key_requests_total", key_id=key, outcome="denied", reason="api_key_revoked") == 1
    assert page.value("sidecar_key_tokens_total", key_id=key, token_type="input") == 10 + 12
    assert page.value("sidecar_key_tokens_total", key_id=key, token_type="cached_input") == 5
    assert page.value("sidecar_key_usage_missing_total", key_id=key) == 1
    assert page.value("sidecar_key_bytes_total", key_id=key, direction="request") == 1000
    assert page.value("sidecar_key_request_duration_seconds_count", key_id=key) == 4
    assert page.value("sidecar_key_in_flight", key_id=key) == 3, "a worker that fell silent drops out"
    assert page.value("sidecar_key_last_used_timestamp_seconds", key_id=key) == NOW - 2
    assert page.value("sidecar_key_expires_timestamp_seconds", key_id=key) == NOW + 500
    assert page.value("sidecar_key_expires_timestamp_seconds", key_id=key_id(2)) is None
    assert page.value("sidecar_key_source_networks", key_id=key) == 2
    assert page.value("sidecar_key_info", key_id=key, name="n1", owner=NASTY) == 1
    assert page.value("sidecar_key_signal_active", key_id=key, signal="new_network") == 1
    assert page.value("sidecar_auth_failures_total", reason="invalid_api_key") == 1
    assert page.value("sidecar_shadow_denied_total", key_id=key_id(2), reason="rate_limit_exceeded") == 1
    assert page.value("sidecar_secret_requests_total", key_id=key, secret_state="current") == 4


def test_each_request_counts_under_one_outcome() -> None:
    page = Page()
    page.key(1)
    page.feed(*(request(key_id(1), time=NOW, outcome=outcome) for outcome in ("ok", "denied", "rate_limited", "client_closed")))
    counted = [value for (name, _), value in page.samples().items() if name == "sidecar_key_requests_total"]
    assert sum(counted) == 4


def test_a_new_key_stands_at_zero() -> None:
    page = Page()
    page.key(7)
    found = {name for (name, labels), value in page.samples().items() if dict(labels).get("key_id") == key_id(7) and value == 0}
    assert {"sidecar_key_requests_total", "sidecar_key_tokens_total", "sidecar_key_bytes_total", "sidecar_key_in_flight"} <= found
    assert page.value("sidecar_key_requests_total", key_id=key_id(7), outcome="ok", reason="") == 0
    outcomes = {dict(labels)["outcome"] for name, labels in page.samples() if name == "sidecar_key_requests_total"}
    assert outcomes == set(get_args(Outcome))


def test_what_alerts_ask_for_stands_at_zero_too() -> None:
    page = Page()
    page.key(7)
    asked = {(each.outcome, each.code) for each in refusals.TABLE if each.shadows or each.outcome == "hub_error"}
    # Neither of these is ever counted for a key.
    asked -= {("denied", refusals.MISSING_API_KEY.code), ("denied", refusals.INVALID_API_KEY.code)}
    # Of bodies that are too large no rule asks, whatever shadow notes of them.
    asked -= {("client_error", refusals.REQUEST_TOO_LARGE.code)}
    for outcome, reason in (*asked, ("hub_error", "5xx"), ("sidecar_error", "overloaded"), ("sidecar_error", "key_store_unavailable")):
        assert page.value("sidecar_key_requests_total", key_id=key_id(7), outcome=outcome, reason=reason) == 0, reason


def test_keys_beyond_the_limit_add_up() -> None:
    page = Page(limit=3)
    for number in range(5):
        page.key(number)
    page.feed(*(request(key_id(number), time=NOW) for number in range(5)))
    page.feed(*(request(key_id(number), time=NOW) for number in range(5)))
    assert page.value("sidecar_key_requests_total", key_id="_overflow", outcome="ok", reason="") == 4
    counted = [value for (name, _), value in page.samples().items() if name == "sidecar_key_requests_total"]
    assert sum(counted) == 10
    assert page.value("sidecar_key_last_used_timestamp_seconds", key_id="_overflow") is None


def test_a_revoked_key_expires_no_more() -> None:
    """Else somebody is told to renew it."""
    page = Page()
    page.key(1, expires_at=NOW + 5)
    page.key(2, expires_at=NOW + 5, revoked_at=NOW - 1)
    shown = {dict(labels)["key_id"] for name, labels in page.samples() if name == "sidecar_key_expires_timestamp_seconds"}
    assert shown == {key_id(1)}


def test_what_keys_beyond_the_limit_add_up_to_begins_at_zero() -> None:
    page = Page(limit=1)
    page.key(1)
    page.feed(state(0, time=NOW - 0.5, in_flight={key_id(1): 1, key_id(2): 2, key_id(3): 3}))
    assert page.value("sidecar_key_requests_total", key_id="_overflow", outcome="ok", reason="") == 0
    assert page.value("sidecar_key_tokens_total", key_id="_overflow", token_type="input") == 0
    assert page.value("sidecar_key_in_flight", key_id=key_id(1)) == 1
    assert page.value("sidecar_key_in_flight", key_id="_overflow") == 5


def test_without_keys_beyond_the_limit_nothing_is_called_overflow() -> None:
    page = Page(limit=2)
    page.key(1)
    page.feed(state(0, time=NOW - 0.5, in_flight={key_id(1): 1}))
    assert "_overflow" not in page.text()


def test_signals_of_keys_beyond_the_limit_make_no_series_of_theirs() -> None:
    page = Page(limit=1, signals=Signals(key_id(2), key_id(3), "_overflow"))
    for number in (1, 2, 3):
        page.key(number)
    shown = {(name, dict(labels).get("key_id")) for name, labels in page.samples() if name.startswith("sidecar_key_signal")}
    assert shown == {(name, key) for name in ("sidecar_key_signal_active", "sidecar_key_signals_total") for key in (key_id(1), "_overflow")}
    assert page.value("sidecar_key_signal_active", key_id="_overflow", signal="new_network") == 1


def test_histograms_are_cumulative_and_carry_exemplars() -> None:
    page = Page()
    page.feed(*(request(time=NOW, total=total, trace_id="ab" * 16) for total in (0.001, 0.005, 0.02, 400.0)))
    labels = 'route="chat_completions",method="POST",status_class="2xx"'
    text = page.text()
    for bound, count in (("0.005", 2), ("0.01", 2), ("0.025", 3), ("300.0", 3), ("+Inf", 4)):
        assert f'sidecar_http_request_duration_seconds_bucket{{{labels},le="{bound}"}} {count}\n' in text
    assert "trace_id" not in text
    assert f'le="0.005"}} 2 # {{trace_id="{"ab" * 16}"}} 0.001' in page.text(openmetrics=True)


def test_names_and_owners_can_be_kept_out() -> None:
    page = Page(key_info=False)
    page.key(1, owner="secret-owner")
    assert "secret-owner" not in page.text()


def test_nothing_is_exported_before_the_counts_are_back() -> None:
    page = Page(restored=False)
    page.key(1)
    assert "sidecar_key_" not in page.text()
    assert "sidecar_http_request" not in page.text()


def test_counters_of_workers_are_told_when_all_workers_were_heard() -> None:
    """A worker counts on when the control process is started anew; a part of the sum would be a reset, and the rest an increase."""
    page = Page()
    counted = {"dropped": 500, "cache": {"hit": 7}, "counters": {"sidecar_connections_total": 40, "sidecar_drained_total:complete": 2}}
    assert worker_counters(page) == {}
    page.feed(state(0, time=NOW, **counted), spool="s")
    assert worker_counters(page) == {}
    page.clock.now += 1
    page.feed(state(1, time=NOW + 1, **counted), spool="t")
    page.clock.now += FRESH
    page.feed(state(0, time=NOW + 1 + FRESH, **counted), spool="s")
    sums = {
        "sidecar_auth_cache_requests_total": 14,
        "sidecar_spool_dropped_total": 1000,
        "sidecar_connections_total": 80,
        "sidecar_drained_total": 4,
    }
    assert worker_counters(page) == sums
    page.clock.now += 2 * FRESH
    assert worker_counters(page) == sums, "when all have fallen silent"


def test_nothing_dropped_is_said_as_zero() -> None:
    page = Page()
    page.feed(state(0, time=NOW))
    page.clock.now += FRESH
    assert page.value("sidecar_spool_dropped_total") == 0


def test_a_worker_without_a_lease_has_no_age_of_one() -> None:
    page = Page()
    page.feed(state(0, time=NOW, lease_age=NO_LEASE), spool="s")
    page.feed(state(1, time=NOW, lease_age=0.25), spool="t")
    ages = {labels: age for (name, labels), age in page.samples().items() if name == "sidecar_worker_lease_age_seconds"}
    assert ages == {(("worker", "1"),): 0.25}


def worker_counters(page: Page) -> dict[str, float]:
    families = {catalogue.CACHE.name, catalogue.DROPPED.name, *(family.name for family in catalogue.WORKER_COUNTERS)}
    return {name: value for (name, _), value in page.samples().items() if name in families}


def test_a_separator_in_a_models_name_ends_no_label() -> None:
    page = Page()
    page.feed(request(key_id(1), model="a\x1fb"), request(key_id(1), model="m", model_served="c\x1fd"))
    samples = page.samples()
    assert {dict(labels)["model"] for name, labels in samples if name == "sidecar_gen_ai_tokens_count"} == {"other"}
    assert page.value("sidecar_model_requests_total", model="other", outcome="ok") == 2


def test_invented_methods_take_no_memory() -> None:
    page = Page()
    page.feed(*(denied(time=NOW, method=f"M{number}", trace_id="ab" * 16) for number in range(500)))
    assert len(page.counts.duration_exemplars) == 1
    assert 'method="other",status_class="4xx",le="0.025"} 500 # {trace_id=' in page.text(openmetrics=True)


def test_client_chosen_names_stay_bounded() -> None:
    page = Page()
    page.key(1)
    page.feed(*(request(key_id(1), time=NOW, model=f"m{number}", outcome="client_error", reason="4xx") for number in range(500)))
    page.feed(*(request(key_id(1), time=NOW, model=f"good{number}") for number in range(500)))
    models = {dict(labels)["model"] for (name, labels), _ in page.samples().items() if name == "sidecar_model_requests_total"}
    assert len(models) == 101
    assert "other" in models
    assert "m1" not in models


@pytest.mark.parametrize("openmetrics", [False, True])
def test_two_thousand_keys_take_less_than_150_ms(openmetrics: bool) -> None:
    page = Page(limit=2000)
    chance = random.Random(1)
    for number in range(2000):
        page.key(number, owner="team", expires_at=NOW)
    page.feed(*(request(key_id(chance.randrange(2000)), time=NOW, total=chance.random()) for _ in range(6000)))
    took = []
    for _ in range(3):
        began = time.process_time()
        page.text(openmetrics=openmetrics)
        took.append(time.process_time() - began)
    assert min(took) < 0.15
