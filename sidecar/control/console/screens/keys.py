"""Settings › API Keys: the table, its export, and revoking several keys at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web
from markupsafe import Markup

from sidecar.control.admin import endpoints
from sidecar.control.admin.csv_export import stream
from sidecar.control.admin.endpoint import Answer
from sidecar.control.admin.errors import NOT_FOUND, AdminError
from sidecar.control.admin.messages.keys import KeyList, KeyObject
from sidecar.control.admin.origin import request_id
from sidecar.control.admin.presenting import key_object
from sidecar.control.admin.rendering import respond
from sidecar.control.admin.services import AdminServices
from sidecar.control.console.charts.spark import sparkline
from sidecar.control.console.guard import HOME
from sidecar.control.console.risks import Risk, open_risks, risks_of
from sidecar.control.console.snippets import PLACEHOLDER, FirstCalls
from sidecar.control.console.visit import Screen, Visit, see
from sidecar.control.usage.overview import Overview
from sidecar.keys.index_entries import fold, is_found
from sidecar.keys.record import Key, status
from sidecar.keys.token import hint, is_well_formed, pasted
from sidecar.keys.use import Use
from sidecar.store.client import StoreUnavailable

PAGE = 50
EXPORT_PAGE = 500
_FILTERS = ("q", "status", "owner", "risk", "sort")
ORDERS = (
    ("", "Newest first"),
    ("oldest", "Oldest first"),
    ("name", "By name"),
    ("last_used_at", "Used, latest first"),
    ("expires_at", "Expiring, soonest first"),
)
_NONE_LEFT = {"last_used_at": "No key has been used yet.", "expires_at": "No key expires."}
"""Orders that leave out the keys without such a time; what a table says that they leave empty."""
_PLACE = re.compile(r"[0-9]{1,9}")
_EXPORTED = ("id", "name", "owner", "status", "hint", "created_at", "expires_at", "last_used_at", "tags", "revision")


@dataclass(frozen=True, slots=True)
class Row:
    """A key as the table shows it; `requests` are those of the last 24 hours."""

    key: KeyObject
    requests: int
    spark: Markup
    risk: Risk | None


class KeyTable:
    """Reads keys through the API's own calls; sparklines come with one trip for the whole page."""

    def __init__(self, services: AdminServices, overview: Overview, first_calls: FirstCalls) -> None:
        self._first_calls = first_calls
        self._keys = services.keys
        self._overview = overview
        self._anomalies = services.anomalies

    def screens(self) -> list[Screen]:
        """The table is for everybody who is signed in, revoking is not."""
        return [
            Screen("GET", HOME, self.table),
            Screen("GET", f"{HOME}/export.csv", self.export),
            Screen("POST", f"{HOME}/revoke", self.revoke_selected, "operator"),
        ]

    async def table(self, visit: Visit) -> web.StreamResponse:
        """One page of keys."""
        query = {name: visit.query.get(name, "") for name in (*_FILTERS, "cursor")}
        link = {name: query[name] for name in _FILTERS if query[name]}
        if shown := _hint_of_key(query["q"]):
            # Neither found by all of it nor left in the address, in the history of the browser and in the links of this page.
            return see(f"{HOME}?{urlencode(link | {'q': shown})}")
        (keys, next_cursor), total = await asyncio.gather(self._page(visit, query, PAGE), self._keys.count())
        chosen = any(query[name] for name in ("q", "status", "owner", "risk"))
        return visit.page(
            "keys.html",
            rows=await self._rows(keys, visit.now),
            total=total,
            query=query,
            link=link,
            filtered=chosen or query["sort"] in _NONE_LEFT,
            none_left="No key matches." if chosen else _NONE_LEFT.get(query["sort"], "No key matches."),
            orders=ORDERS,
            next_cursor=next_cursor,
            curl=self._first_calls.curl(visit.request.host, PLACEHOLDER),
        )

    async def export(self, visit: Visit) -> web.StreamResponse:
        """Every key that passes the filters, as CSV."""
        pieces = stream(_EXPORTED, self._exported(visit))
        return await respond(
            visit.request, Answer(200, media="text/csv", stream=pieces, filename="api-keys.csv"), request_id(visit.request)
        )

    async def revoke_selected(self, visit: Visit) -> web.StreamResponse:
        """Ask first, naming the keys and what they did lately; then revoke each. Where one is in use, their number has to be typed."""
        chosen = list(dict.fromkeys(visit.chosen))[:PAGE]
        if not chosen:
            return see(HOME)
        # Read before anything is revoked: when the store goes away meanwhile, what was done is told all the same.
        found = [key for key in await self._keys.get_many(chosen) if key is not None]
        uses = await self._keys.uses([key.id for key in found])
        rows = await self._rows([key_object(key, uses.get(key.id), visit.now) for key in found], visit.now)
        confirmed = visit.form.get("confirmed") == "yes"
        mistyped = confirmed and _in_use(rows) and visit.form.get("typed_count", "").strip() != str(len(rows))
        refused: dict[str, str] = {}
        if confirmed and not mistyped:
            refused = await self._revoke(visit, chosen)
            if not refused:
                return see(HOME, "bulk-revoked")
            rows = [row for row in rows if row.key.id in refused]
        return visit.page(
            "bulk_revoke.html",
            status=400 if mistyped else 409 if refused else 200,
            rows=rows,
            in_use=_in_use(rows),
            fault=f"Type {len(rows)}, the number of the keys above." if mistyped else "",
            back=HOME,
            refused=refused,
            done=len(chosen) - len(refused),
            reason=visit.form.get("reason", ""),
        )

    async def _revoke(self, visit: Visit, chosen: list[str]) -> dict[str, str]:
        """Revoke each; which could not be, and why. One that cannot must not keep the next ones alive."""
        refused = {}
        for key_id in chosen:
            try:
                await visit.ask(endpoints.REVOKE_KEY, path={"key_id": key_id}, body={"reason": visit.form.get("reason", "")})
            except AdminError as error:
                if error.problem is not NOT_FOUND:
                    refused[key_id] = error.detail
            except StoreUnavailable as error:
                refused[key_id] = f"The key store says: {error}."
        return refused

    async def _page(self, visit: Visit, query: dict[str, str], limit: int) -> tuple[list[KeyObject], str | None]:
        asked = {name: query[name] for name in ("q", "status", "owner", "sort", "cursor") if query[name]}
        if query["risk"]:
            return await self._suspected(query, await open_risks(visit), visit.now, limit)
        answer = await visit.ask(endpoints.LIST_KEYS, query={**asked, "limit": str(limit)})
        assert isinstance(answer.document, KeyList)
        return answer.document.data, answer.document.next_cursor

    async def _suspected(self, query: dict[str, str], risks: dict[str, Risk], now: float, limit: int) -> tuple[list[KeyObject], str | None]:
        """Keys with open alerts are few: those are read, and the other filters applied to them. A cursor is a place among them."""
        wanted = [risk.key_id for risk in risks.values() if query["risk"] in ("any", risk.level)]
        prefix = fold(query["q"])
        found = [
            key
            for key in await self._keys.get_many(wanted)
            if key is not None
            and query["status"] in ("", status(key, now))
            and query["owner"] in ("", key.owner)
            and (not prefix or is_found(key, prefix))
        ]
        uses = await self._keys.uses([key.id for key in found])
        found = _ordered(found, query["sort"], uses, risks)
        first = int(query["cursor"]) if _PLACE.fullmatch(query["cursor"]) else 0
        page = [key_object(key, uses.get(key.id), now) for key in found[first : first + limit]]
        return page, str(first + limit) if len(found) > first + limit else None

    async def _rows(self, keys: list[KeyObject], now: float) -> list[Row]:
        ids = [key.id for key in keys]
        hours, risks = await asyncio.gather(self._overview.last_hours(ids, now), risks_of(self._anomalies, ids))
        return [Row(key, sum(hours[key.id]), _spark(hours[key.id]), risks.get(key.id)) for key in keys]

    async def _exported(self, visit: Visit) -> AsyncIterator[list[list[object]]]:
        asked: dict[str, str] = {name: visit.query.get(name, "") for name in _FILTERS}
        cursor: str | None = ""
        while cursor is not None:
            keys, cursor = await self._page(visit, {**asked, "cursor": cursor}, EXPORT_PAGE)
            yield [[_cell(getattr(key, name)) for name in _EXPORTED] for key in keys]


def _ordered(keys: list[Key], order: str, uses: Mapping[str, Use], risks: Mapping[str, Risk]) -> list[Key]:
    """By the order that was chosen, which leaves out the keys without such a time; else the most suspected first."""
    used = {key_id: use.last_used_at for key_id, use in uses.items() if use.last_used_at}
    if order == "last_used_at":
        keys = [key for key in keys if key.id in used]
    elif order == "expires_at":
        keys = [key for key in keys if key.expires_at is not None]
    places: dict[str, Callable[[Key], tuple[str | float, ...]]] = {
        "oldest": lambda key: (key.created_at, key.id),
        "name": lambda key: (fold(key.name), key.id),
        "last_used_at": lambda key: (-used[key.id], key.id),
        "expires_at": lambda key: (key.expires_at or 0.0, key.id),
    }
    return sorted(keys, key=places.get(order, lambda key: (-risks[key.id].score, key.id)))


def _hint_of_key(text: str) -> str:
    """How a key is shown that somebody searches for by all of it; empty for any other text."""
    token = pasted(text)
    return hint(token) if is_well_formed(token.encode(), token.partition("_")[0]) else ""


def _in_use(rows: list[Row]) -> bool:
    return any(row.requests for row in rows)


def _cell(value: object) -> object:
    return " ".join(value) if isinstance(value, list) else value


def _spark(hours: list[int]) -> Markup:
    total = sum(hours)
    return sparkline(hours, f"{total} request{'' if total == 1 else 's'} in the last 24 hours, by hour")
