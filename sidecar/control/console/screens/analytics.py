"""Analytics: totals against the time before, series, top keys and models, all from one breakdown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlencode

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.origin import request_id
from sidecar.control.admin.rendering import respond
from sidecar.control.admin.services import AdminServices
from sidecar.control.console.charts import of_use
from sidecar.control.console.guard import HOME
from sidecar.control.console.spans import DAY, HOUR, RANGES, Span, chosen
from sidecar.control.console.visit import Screen, Visit
from sidecar.control.usage.overview import Overview

TOP_KEYS = 10


class Analytics:
    """The use of all keys together."""

    def __init__(self, services: AdminServices, overview: Overview) -> None:
        self._keys = services.keys
        self._minutes_kept = services.settings.usage.minutes
        self._overview = overview

    def screens(self) -> list[Screen]:
        """The page and its export."""
        return [Screen("GET", "/analytics", self.show), Screen("GET", "/analytics/export.csv", self.export)]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """The page."""
        span = chosen(visit.query, visit.now, self._minutes_kept)
        await visit.begin("analytics.html")
        use, before, keys = await asyncio.gather(
            self._overview.breakdown(None, span.start, span.end, span.step),
            self._overview.totals(None, *span.before),
            self._top(span),
        )
        return await visit.end(
            "analytics.html",
            span=span,
            ranges=RANGES,
            link={},
            exported=urlencode({"from": _moment(span.start), "to": _moment(span.end), "step": _export_step(span)}),
            use=use,
            before=before,
            charts=[of_use.tokens(use, span), of_use.models(use, span), of_use.errors(use, span), of_use.credits_used(use, span)],
            requests=of_use.requests(use, span),
            models=of_use.ranked(use.groups["model"]),
            routes=of_use.ranked(use.groups["route"]),
            reasons=of_use.ranked(use.groups["reason"]),
            keys=keys,
        )

    async def export(self, visit: Visit) -> web.StreamResponse:
        """The same span as CSV, by model."""
        asked: dict[str, str] = {name: visit.query[name] for name in ("from", "to", "step") if name in visit.query}
        answer = await visit.ask(endpoints.USAGE, query={**asked, "group_by": "model"}, media="text/csv")
        return await respond(visit.request, answer, request_id(visit.request))

    async def _top(self, span: Span) -> list[dict[str, object]]:
        top = await self._overview.top_keys(span.start, span.end, TOP_KEYS)
        found = await self._keys.get_many([key_id for key_id, _ in top]) if top else []
        return [
            {"name": key.name if key is not None else key_id, "link": f"{HOME}/{key_id}", "use": use}
            for (key_id, use), key in zip(top, found, strict=True)
        ]


def _export_step(span: Span) -> str:
    return "1m" if span.step < HOUR else "1h" if span.step < DAY else "1d"


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
