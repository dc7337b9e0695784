"""A page whose head goes out before the rest is known: the browser gets style and scripts while the store is read.

Its status is 200 by then, so a screen begins early only when nothing that the person asked for can be wrong any
more. What fails all the same is told in the page.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from aiohttp import web

from sidecar.control.console.guard import PAGE_HEADERS

END = "</head>"


class EarlyPage:
    """A response that has begun."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response

    @classmethod
    async def begin(cls, request: web.Request, page: str) -> None:
        """Send the head of `page`, a page as far as it is known."""
        response = web.StreamResponse(headers=PAGE_HEADERS)
        response.content_type, response.charset = "text/html", "utf-8"
        await response.prepare(request)
        head, end, _ = page.partition(END)
        await _send(response, head + end)
        request[_KEY] = cls(response)

    @staticmethod
    def of(request: web.Request) -> EarlyPage | None:
        """The page of `request`, if it has begun."""
        early: EarlyPage | None = request.get(_KEY)
        return early

    async def end(self, page: str) -> web.StreamResponse:
        """Send what the whole `page` has after its head."""
        await _send(self._response, page.partition(END)[2])
        return self._response


_KEY: Final = web.RequestKey("early page", EarlyPage)


async def _send(response: web.StreamResponse, text: str) -> None:
    # Whoever has left needs no page.
    with suppress(ConnectionError):
        await response.write(text.encode())
