"""Which calls need the ledger, what the ledger adds to one, and how far the two are apart. Pure.

A call is found again by its request id, which the hub stores, and by nothing else: two calls of a key in
the same second look alike, and what is guessed may be counted twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from operator import sub

from msgspec.structs import astuple

from sidecar.events.record import Request, Tokens, sum_of
from sidecar.hubs.ledger import Entry
from sidecar.hubs.profile import Profile

SLACK = 2.0
"""Seconds by which the hub's clock and rounding may differ from ours."""

_CUT_OFF = frozenset({"client_closed", "timeout", "hub_aborted", "revoked", "shutdown", "drained"})


def metered_routes(profile: Profile) -> frozenset[str]:
    """The routes whose calls the hub bills to a key."""
    return frozenset(route.name for route in profile.routes if route.usage != "none" and route.identity)


def is_untold(call: Request) -> bool:
    """Whether the hub may have billed more than its answer said: nothing, part of it, or tokens without credits."""
    if not call.key_id or (call.usage_source == "hub" and call.tokens.credits):
        return False
    return 200 <= call.hub_status < 300 or call.ending in _CUT_OFF


def missing(call: Request, entries: Collection[Entry]) -> Tokens | None:
    """What the ledger's `entries` of one call have beyond the call's own figures; None while they may still change.

    A hub that tried several providers has several entries. Figures never shrink: what the answer said stays said.
    """
    if not entries or not all(entry.final for entry in entries):
        return None
    more = map(sub, astuple(sum_of(entry.tokens for entry in entries)), astuple(call.tokens))
    return Tokens(*(max(0, figure) for figure in more))


def by_request(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries by request id."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.request_id, []).append(entry)
    return found


def drift(entries: Iterable[Entry], counted: Mapping[str, Request], since: float, until: float) -> int:
    """Tokens that the ledger has beyond `counted`, the sidecar's calls by request id, for calls from `since` to `until`.

    Calls that only one side knows count where they lie well within that span; those at its edges may just not be listed.
    A call of which the ledger has an entry that may still change counts on neither side.
    """
    entries = list(entries)
    unsettled = {entry.request_id for entry in entries if not entry.final}
    listed = by_request(entry for entry in entries if entry.final and (not entry.request_id or entry.request_id not in unsettled))
    apart = 0
    for request_id, found in listed.items():
        call = counted.get(request_id)
        if call is not None:
            apart += sum(map(tokens_of, (entry.tokens for entry in found))) - tokens_of(call.tokens)
        else:
            apart += sum(tokens_of(entry.tokens) for entry in found if entry.started >= since + SLACK and entry.ended <= until - SLACK)
    for request_id, call in counted.items():
        if (
            request_id not in listed
            and request_id not in unsettled
            and call.time - call.total >= since + SLACK
            and call.time <= until - SLACK
        ):
            apart -= tokens_of(call.tokens)
    return apart


def tokens_of(tokens: Tokens) -> int:
    """Input and output together."""
    return tokens.input + tokens.output
