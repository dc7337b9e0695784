"""Writes the series that are labelled with a key, some 35 lines a key, from cached lead-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from sidecar.control.metrics import catalogue
from sidecar.control.metrics.catalogue import Family
from sidecar.control.metrics.counts import OVERFLOW, SEPARATOR
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.state import Counts
from sidecar.control.metrics.text import Page, escape, number
from sidecar.control.totals.nested import Nested
from sidecar.keys.record import Key

TOKEN_TYPES = ("input", "output", "cached_input", "cache_creation_input")
DIRECTIONS = ("request", "response")

ZERO_RESULTS = {
    outcome + SEPARATOR + reason: 0
    for outcome, reason in (
        ("ok", ""),
        ("denied", "api_key_disabled"),
        ("denied", "api_key_expired"),
        ("denied", "api_key_revoked"),
        ("denied", "api_key_rotated"),
        ("denied", "ip_not_allowed"),
        ("denied", "model_not_allowed"),
        ("denied", "route_not_allowed"),
        ("rate_limited", "rate_limit_exceeded"),
        ("rate_limited", "insufficient_quota"),
        ("rate_limited", "abnormal_usage_detected"),
        ("client_error", "4xx"),
        ("client_error", "invalid_request"),
        ("client_closed", ""),
        ("hub_error", "5xx"),
        ("hub_error", "hub_unavailable"),
        ("hub_error", "hub_timeout"),
        ("hub_error", "hub_rejected_credential"),
        ("sidecar_error", "overloaded"),
        ("sidecar_error", "key_store_unavailable"),
    )
}
"""Every outcome, with what most often brings it about, and every refusal that somebody may want to be woken for.

Series that exist before their first request: `increase()` misses the first count of a series that is born with it.
"""

_NOTHING: Nested = {}


class KeyRows:
    """All families with a `key_id`, but those of signals."""

    def __init__(self, counts: Counts, keys: LabelledKeys, *, key_info: bool) -> None:
        self._counts = counts
        self._keys = keys
        self._key_info = key_info
        self._results: dict[str, str] = {}

    def write(self, page: Page, in_flight: Mapping[str, int], networks: Callable[[str], int]) -> None:
        """Add the families to `page`."""
        records = self._keys.records
        counted = [(key_id, self._counts.keys.get(key_id, _NOTHING)) for key_id in records]
        if self._overflows():
            counted.append((OVERFLOW, self._counts.keys.get(OVERFLOW, _NOTHING)))
        page.add(catalogue.KEY_REQUESTS, self._requests(counted))
        page.add(catalogue.KEY_TOKENS, _list(catalogue.KEY_TOKENS, "token_type", TOKEN_TYPES, "t", counted))
        page.add(catalogue.KEY_USAGE_MISSING, _single(catalogue.KEY_USAGE_MISSING, ((key_id, one.get("u", 0)) for key_id, one in counted)))
        page.add(catalogue.KEY_RECONCILED, _single(catalogue.KEY_RECONCILED, ((key_id, one.get("l", 0)) for key_id, one in counted)))
        page.add(catalogue.KEY_BYTES, _list(catalogue.KEY_BYTES, "direction", DIRECTIONS, "b", counted))
        page.add(catalogue.KEY_DURATION, _durations(counted))
        page.add(catalogue.KEY_SECRETS, _map(catalogue.KEY_SECRETS, "secret_state", "s", counted))
        page.add(catalogue.SHADOW, [*_map(catalogue.SHADOW, "reason", "h", counted), *self._unkeyed_shadow()])
        self._write_gauges(page, in_flight, networks)

    def _write_gauges(self, page: Page, in_flight: Mapping[str, int], networks: Callable[[str], int]) -> None:
        records, last_used = self._keys.records, self._keys.last_used
        open_now: list[tuple[str, float]] = [(key_id, in_flight.get(key_id, 0)) for key_id in records]
        if self._overflows():
            open_now.append((OVERFLOW, sum(count for key_id, count in in_flight.items() if key_id not in records)))
        page.add(catalogue.KEY_IN_FLIGHT, _single(catalogue.KEY_IN_FLIGHT, open_now))
        page.add(catalogue.KEY_LAST_USED, _single(catalogue.KEY_LAST_USED, ((key_id, last_used.get(key_id, 0)) for key_id in records)))
        page.add(catalogue.KEY_NETWORKS, _single(catalogue.KEY_NETWORKS, ((key_id, networks(key_id)) for key_id in records)))
        known = [key for key in records.values() if key is not None]
        # A key that is revoked expires no more, and nobody should be told to renew it.
        expiring = [key for key in known if key.expires_at is not None and key.revoked_at is None]
        page.add(catalogue.KEY_CREATED, _single(catalogue.KEY_CREATED, ((key.id, key.created_at) for key in known)))
        page.add(catalogue.KEY_EXPIRES, _single(catalogue.KEY_EXPIRES, ((key.id, key.expires_at or 0.0) for key in expiring)))
        if self._key_info:
            page.add(catalogue.KEY_INFO, [_info(key) for key in known])

    def _overflows(self) -> bool:
        """Whether there are, or may be at any moment, keys without series of their own: theirs must exist before the first count too."""
        return OVERFLOW in self._counts.keys or len(self._keys.records) >= self._keys.limit

    def _requests(self, counted: list[tuple[str, Nested]]) -> Iterator[str]:
        name = catalogue.KEY_REQUESTS.name
        for key_id, counts in counted:
            lead = f'{name}{{key_id="{key_id}",'
            for result, count in {**ZERO_RESULTS, **counts.get("r", _NOTHING)}.items():
                yield f"{lead}{self._result(result)}}} {count}"

    def _result(self, result: str) -> str:
        text = self._results.get(result)
        if text is None:
            outcome, _, reason = result.partition(SEPARATOR)
            text = self._results[result] = f'outcome="{escape(outcome)}",reason="{escape(reason)}"'
        return text

    def _unkeyed_shadow(self) -> Iterator[str]:
        for reason, count in self._counts.families.get("shadow", _NOTHING).items():
            yield f'{catalogue.SHADOW.name}{{key_id="",reason="{escape(reason)}"}} {count}'


def _single(family: Family, values: Iterable[tuple[str, float]]) -> Iterator[str]:
    lead = f'{family.name}{{key_id="'
    for key_id, value in values:
        yield f'{lead}{key_id}"}} {value!r}'


def _list(family: Family, label: str, names: tuple[str, ...], field: str, counted: list[tuple[str, Nested]]) -> Iterator[str]:
    tails = [f'",{label}="{name}"}} ' for name in names]
    for key_id, counts in counted:
        lead = f'{family.name}{{key_id="{key_id}'
        values = counts.get(field, ())
        for index, tail in enumerate(tails):
            yield f"{lead}{tail}{values[index] if index < len(values) else 0}"


def _map(family: Family, label: str, field: str, counted: list[tuple[str, Nested]]) -> Iterator[str]:
    for key_id, counts in counted:
        for name, count in counts.get(field, _NOTHING).items():
            yield f'{family.name}{{key_id="{key_id}",{label}="{escape(name)}"}} {count}'


def _durations(counted: list[tuple[str, Nested]]) -> Iterator[str]:
    name = catalogue.KEY_DURATION.name
    for key_id, counts in counted:
        total, requests = counts.get("d", (0.0, 0))
        yield f'{name}_sum{{key_id="{key_id}"}} {number(float(total))}'
        yield f'{name}_count{{key_id="{key_id}"}} {requests}'


def _info(key: Key) -> str:
    return f'{catalogue.KEY_INFO.name}{{key_id="{key.id}",name="{escape(key.name)}",owner="{escape(key.owner)}"}} 1'
