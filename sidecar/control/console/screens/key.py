"""One key: what it is, how it was used, who uses its secrets, what is suspected, what was done to it, its latest calls."""

from __future__ import annotations

import asyncio

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.messages.anomalies import AnomalyList
from sidecar.control.admin.messages.operations import AuditList
from sidecar.control.admin.resources.usage import call_object
from sidecar.control.admin.services import AdminServices
from sidecar.control.console.charts import of_use
from sidecar.control.console.guard import HOME
from sidecar.control.console.sample import MOST, sample
from sidecar.control.console.screens.key_acts import read_key, read_secrets
from sidecar.control.console.spans import RANGES, Span, chosen
from sidecar.control.console.visit import Screen, Visit
from sidecar.control.queries import CallPage
from sidecar.control.usage.overview import Overview
from sidecar.events.record import Request

CALLS = 15
EVENTS = 10
MORE_PAGES = 3
"""Pages of the call log that are looked through beyond the first for the calls of a key that seldom calls."""


class KeyPage:
    """Everything of a key on one page."""

    def __init__(self, services: AdminServices, overview: Overview) -> None:
        self._calls = services.calls
        self._minutes_kept = services.settings.usage.minutes
        self._overview = overview

    def screens(self) -> list[Screen]:
        """One."""
        return [Screen("GET", f"{HOME}/{{key_id}}", self.show)]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """The page."""
        key = await read_key(visit)
        span = chosen(visit.query, visit.now, self._minutes_kept)
        use, secrets, calls, anomalies, events = await asyncio.gather(
            self._overview.breakdown(key.id, span.start, span.end, span.step),
            read_secrets(visit, key.id),
            self._latest(key.id, span),
            visit.ask(endpoints.LIST_ANOMALIES, query={"key": key.id, "limit": "20"}),
            visit.ask(endpoints.AUDIT_EVENTS, query={"target": key.id, "limit": str(EVENTS)}),
        )
        assert isinstance(anomalies.document, AnomalyList)
        assert isinstance(events.document, AuditList)
        seen = sample(calls.calls, span)
        return visit.page(
            "key.html",
            key=key,
            span=span,
            ranges=RANGES,
            link={},
            use=use,
            charts=[
                of_use.requests(use, span),
                of_use.tokens(use, span),
                of_use.errors(use, span),
                of_use.latency(seen.middle, seen.slow, span, seen.calls),
            ],
            models=of_use.ranked(use.groups["model"]),
            routes=of_use.ranked(use.groups["route"]),
            seen=seen,
            secrets=secrets,
            alerts=anomalies.document.data,
            events=events.document.data,
            calls=[call_object(call) for call in calls.calls[:CALLS]],
            more=bool(calls.next_cursor),
        )

    async def _latest(self, key_id: str, span: Span) -> CallPage:
        """The latest calls of the span, `MOST` at most; with a cursor when the log was not looked through to find a table's worth."""
        found: list[Request] = []
        cursor = ""
        for _ in range(1 + MORE_PAGES):
            page = await self._calls.calls(key_id=key_id, outcome=None, start=span.start, end=span.end, limit=MOST, cursor=cursor)
            found, cursor = [*found, *page.calls], page.next_cursor
            if not cursor or len(found) >= CALLS:
                break
        return CallPage(found[:MOST], cursor if len(found) < CALLS else "")
