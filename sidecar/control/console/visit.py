"""One request of a signed-in person: what a screen is given, and all that it can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from sidecar.control.admin.app import AdminApi
from sidecar.control.admin.authentication import Actor
from sidecar.control.admin.endpoint import Answer, Endpoint, Media
from sidecar.control.console.early import EarlyPage
from sidecar.control.console.preferences import Preferences
from sidecar.control.console.rendering import Pages
from sidecar.control.console.sessions import Session
from sidecar.keys.admin_tokens import Role

Form = Mapping[str, str]
"""The fields of a form that was sent; of a repeated one the last."""


@dataclass(frozen=True, slots=True)
class Visit:
    """`form` and `chosen` are empty for a GET; `now` is Unix seconds."""

    request: web.Request
    session: Session
    preferences: Preferences
    api: AdminApi
    pages: Pages
    now: float
    form: Form
    chosen: tuple[str, ...]
    """Every value of the field `key`, the one that a form may repeat."""

    @property
    def actor(self) -> Actor:
        """Who it is."""
        return self.session.actor

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters of the path."""
        return self.request.match_info

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query that are not empty; of a repeated one the last."""
        return {name: value.strip() for name, value in self.request.query.items() if value.strip()}

    async def ask(
        self,
        endpoint: Endpoint[Any, Any],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str = "",
        if_match: int | None = None,
        media: Media | None = None,
        sent: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call the API as this person; raises AdminError and StoreUnavailable. For `sent` see `Dispatcher.invoke`."""
        return await self.api.dispatcher.invoke(
            self.api.routes[endpoint.name],
            self.request,
            self.actor,
            path=path,
            query=query,
            body=body,
            idempotency_key=idempotency_key,
            if_match=if_match,
            media=media,
            sent=sent,
        )

    def page(self, template: str, *, status: int = 200, **shown: Any) -> web.Response:
        """A page with what every page shows."""
        return self.pages.page(template, self.now, status=status, **self._common(), **shown)

    async def begin(self, template: str) -> None:
        """Send the head of a page; `end` must follow, with nothing before it that could ask for another status."""
        if self.request.method == "GET":
            await EarlyPage.begin(self.request, self.pages.head(template, self.now, **self._common()))

    async def end(self, template: str, **shown: Any) -> web.StreamResponse:
        """The rest of the page that has begun."""
        early = EarlyPage.of(self.request)
        if early is None:
            return self.page(template, **shown)
        return await early.end(self.pages.html(template, self.now, **self._common(), **shown))

    def _common(self) -> dict[str, Any]:
        return {
            "csrf": self.session.csrf,
            "actor": self.actor,
            "preferences": self.preferences,
            "here": self.request.path,
            "told": TOLD.get(self.request.query.get("done", ""), ""),
        }


TOLD = {
    "acknowledged": "Alert acknowledged.",
    "changed": "Changes saved.",
    "disabled": "Key disabled. It is refused until you enable it again.",
    "enabled": "Key enabled.",
    "muted": "Alert muted.",
    "preferences": "Preferences saved.",
    "revoked": "Key revoked. It is refused from now on.",
    "bulk-revoked": "The selected keys are revoked.",
    "secret-ended": "The old secret is refused from now on.",
    "stored": "Secret stored away. It cannot be shown again.",
    "token-revoked": "Admin token revoked.",
    "unmuted": "Alert no longer muted.",
}
"""What a page may say of what was just done; only these, for a link must not put words on a page."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A handler under a path, and the least role that may open it."""

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[Visit], Awaitable[web.StreamResponse]]
    role: Role = "viewer"


def see(path: str, done: str = "") -> web.Response:
    """Go on to another page, saying what was done: a reload then repeats nothing."""
    target = f"{path}{'&' if '?' in path else '?'}done={done}" if done else path
    return web.Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})
