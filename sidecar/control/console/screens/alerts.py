"""Alerts: what is suspected, why, and what an operator says to it."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.messages.anomalies import AnomalyList
from sidecar.control.console.forms import faults_of
from sidecar.control.console.guard import local
from sidecar.control.console.visit import Screen, Visit, see

PAGE = 25
STATES = (("open", "Open"), ("acknowledged", "Acknowledged"), ("closed", "Over"), ("all", "All"))
_ALERT = "/alerts/{anomaly_id}"


class Alerts:
    """Every act is a call of the API."""

    def screens(self) -> list[Screen]:
        """The list, and two acts."""
        return [
            Screen("GET", "/alerts", self.show),
            Screen("POST", f"{_ALERT}/acknowledge", self.acknowledge, "operator"),
            Screen("POST", f"{_ALERT}/mute", self.mute, "operator"),
        ]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One page, newest first."""
        state = visit.query.get("state", "open")
        link: dict[str, str] = {name: visit.query[name] for name in ("state", "level", "key") if name in visit.query}
        query: dict[str, str] = {name: visit.query[name] for name in ("level", "key", "cursor") if name in visit.query} | {
            "limit": str(PAGE)
        }
        if state != "all":
            query["state"] = state
        answer = await visit.ask(endpoints.LIST_ANOMALIES, query=query)
        assert isinstance(answer.document, AnomalyList)
        return visit.page(
            "alerts.html",
            alerts=answer.document.data,
            state=state,
            states=STATES,
            key=link.get("key", ""),
            link=link,
            back=_address(link | {name: visit.query[name] for name in ("cursor",) if name in visit.query}),
            cursor=visit.query.get("cursor", ""),
            next_cursor=answer.document.next_cursor,
        )

    async def acknowledge(self, visit: Visit) -> web.StreamResponse:
        """Say that it is dealt with."""
        try:
            await visit.ask(endpoints.ACKNOWLEDGE, path=dict(visit.path), body={"reason": visit.form.get("reason", "")})
        except AdminError as error:
            return _again(visit, "Acknowledge", faults_of(error, "reason"))
        return see(local(visit.form.get("back", "/alerts")), "acknowledged")

    async def mute(self, visit: Visit) -> web.StreamResponse:
        """Silence its signals for its key."""
        duration = visit.form.get("duration", "24h")
        try:
            await visit.ask(endpoints.MUTE, path=dict(visit.path), body={"reason": visit.form.get("reason", ""), "duration": duration})
        except AdminError as error:
            return _again(visit, "Mute", faults_of(error, "reason"))
        return see(local(visit.form.get("back", "/alerts")), "unmuted" if duration == "0s" else "muted")


def _address(query: dict[str, str]) -> str:
    """The list as it is narrowed down: whoever works through it goes on where he was."""
    return f"/alerts?{urlencode(query)}" if query else "/alerts"


def _again(visit: Visit, act: str, faults: dict[str, str]) -> web.StreamResponse:
    """The form with what was typed, on a page of its own: the one that it came from shows many."""
    form = {name: visit.form.get(name, "") for name in ("reason", "duration")}
    return visit.page("alert_reason.html", status=400, act=act, back=local(visit.form.get("back", "/alerts")), form=form, faults=faults)
