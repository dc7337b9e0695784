"""The audit log: who did what, filters, export, and the state of its chain."""

from __future__ import annotations

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.messages.operations import AuditList, AuditVerdict
from sidecar.control.admin.origin import request_id
from sidecar.control.admin.rendering import respond
from sidecar.control.console.door import LIVE_HEADER
from sidecar.control.console.forms import faults_of
from sidecar.control.console.screens.calls import asked
from sidecar.control.console.visit import Screen, Visit

PAGE = 50
_FILTERS = ("action", "actor", "target", "outcome", "from", "to")
FAMILIES = (
    ("", "Any"),
    ("api_key", "API keys"),
    ("anomaly", "Alerts"),
    ("admin_token", "Admin tokens"),
    ("session", "Sessions"),
    ("admin", "Refused attempts"),
)


class AuditLog:
    """Events, newest first."""

    def screens(self) -> list[Screen]:
        """The page, its export, and the check of the chain, which reads everything and is therefore asked for."""
        return [Screen("GET", "/audit-log", self.show), Screen("GET", "/audit-log/export.jsonl", self.export)]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One page."""
        link = {name: visit.query[name] for name in _FILTERS if name in visit.query}
        cursor = visit.query.get("cursor", "")
        page, faults = AuditList(data=[], next_cursor=None), dict[str, str]()
        try:
            answer = await visit.ask(
                endpoints.AUDIT_EVENTS, query={**asked(link), "limit": str(PAGE), **({"cursor": cursor} if cursor else {})}
            )
            assert isinstance(answer.document, AuditList)
            page = answer.document
        except AdminError as error:
            faults = faults_of(error, "actor", "target", "from", "to")
        verdict = None
        # A page that refreshes itself keeps the verdict that it has: the whole log is not read again every few seconds.
        if visit.query.get("verify") == "yes" and LIVE_HEADER not in visit.request.headers:
            checked = await visit.ask(endpoints.VERIFY_AUDIT)
            assert isinstance(checked.document, AuditVerdict)
            verdict = checked.document.verdict
        return visit.page(
            "audit_log.html",
            status=400 if faults else 200,
            faults=faults,
            events=page.data,
            query={name: link.get(name, "") for name in _FILTERS},
            link=link,
            cursor=cursor,
            next_cursor=page.next_cursor,
            families=FAMILIES,
            verdict=verdict,
        )

    async def export(self, visit: Visit) -> web.StreamResponse:
        """Everything that passes the filters as JSON Lines, oldest first."""
        link = {name: visit.query[name] for name in _FILTERS if name in visit.query}
        answer = await visit.ask(endpoints.AUDIT_EVENTS, query=asked(link), media="application/x-ndjson")
        return await respond(visit.request, answer, request_id(visit.request))
