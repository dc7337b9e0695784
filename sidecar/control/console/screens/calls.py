"""The call log: filters, pages, export."""

from __future__ import annotations

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.messages.usage import CallList
from sidecar.control.admin.origin import request_id
from sidecar.control.admin.rendering import respond
from sidecar.control.admin.services import AdminServices
from sidecar.control.console.forms import faults_of
from sidecar.control.console.visit import Screen, Visit

PAGE = 50
OUTCOMES = ("ok", "denied", "rate_limited", "client_error", "hub_error", "client_closed", "sidecar_error")
_FILTERS = ("key", "outcome", "from", "to")


class CallLog:
    """Finished requests, newest first."""

    def __init__(self, services: AdminServices) -> None:
        self._keys = services.keys

    def screens(self) -> list[Screen]:
        """The page and its export."""
        return [Screen("GET", "/calls", self.show), Screen("GET", "/calls/export.csv", self.export)]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One page."""
        link = {name: visit.query[name] for name in _FILTERS if name in visit.query}
        cursor = visit.query.get("cursor", "")
        page, faults = CallList(data=[], next_cursor=None), dict[str, str]()
        try:
            query = {**asked(link), "limit": str(PAGE), **({"cursor": cursor} if cursor else {})}
            answer = await visit.ask(endpoints.REQUESTS, query=query)
            assert isinstance(answer.document, CallList)
            page = answer.document
        except AdminError as error:
            faults = faults_of(error, "key", "from", "to")
        calls = page.data
        ids = list(dict.fromkeys(call.key_id for call in calls if call.key_id))
        found = await self._keys.get_many(ids) if ids else []
        return visit.page(
            "calls.html",
            status=400 if faults else 200,
            faults=faults,
            calls=calls,
            key_names={key.id: key.name for key in found if key is not None},
            query={name: link.get(name, "") for name in _FILTERS},
            link=link,
            cursor=cursor,
            next_cursor=page.next_cursor,
            outcomes=OUTCOMES,
        )

    async def export(self, visit: Visit) -> web.StreamResponse:
        """Everything that passes the filters, as CSV."""
        link = {name: visit.query[name] for name in _FILTERS if name in visit.query}
        answer = await visit.ask(endpoints.REQUESTS, query=asked(link), media="text/csv")
        return await respond(visit.request, answer, request_id(visit.request))


def asked(link: dict[str, str]) -> dict[str, str]:
    """Filters as the API wants them: a form's moments have neither seconds nor zone."""
    return {name: f"{value}:00Z" if name in ("from", "to") and len(value) == 16 else value for name, value in link.items()}
