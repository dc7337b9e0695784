"""Asks the hub for its own list of a key's calls."""

from __future__ import annotations

import json
from dataclasses import dataclass

import aiohttp

from sidecar.hubs.ledger import Entry, entries_of
from sidecar.hubs.profile import Profile
from sidecar.hubs.session import address, headers, open_session
from sidecar.settings.declaration import Hub

PAGE = 100
PAGES = 50
"""Calls that are asked for in one page, and pages that are read for one key at a time."""
BEHIND = 60.0
"""Seconds by which the hub's clock may be behind ours: for so long before a moment its list is read on."""
LARGEST = 4 << 20
"""Bytes of one page; a larger one is none."""
_PATIENCE = aiohttp.ClientTimeout(total=20, sock_connect=3)


class LedgerUnavailable(Exception):
    """The hub does not answer, or not with a list of calls. The message is safe to log."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A key's calls; `complete` unless there were more than is read at a time."""

    entries: list[Entry]
    complete: bool


class HubLedger:
    """One hub's ledger."""

    def __init__(self, hub: Hub, profile: Profile) -> None:
        self._hub = hub
        self._ledger = profile.ledger
        self._inject = profile.headers.inject

    async def calls(self, key_id: str, since: float) -> Listing:
        """What the hub lists for a key, newest first, back to calls that began at `since`, and some before. Raises LedgerUnavailable."""
        # A call that is new meanwhile moves the others on by one: the last of a page comes again with the next.
        found: dict[object, Entry] = {}
        try:
            async with open_session(self._hub, _PATIENCE) as session:
                for number in range(1, PAGES + 1):
                    page = await self._page(session, key_id, number)
                    found |= {entry.id or (number, place): entry for place, entry in enumerate(page)}
                    # One that does not say when it began is not the oldest for it.
                    if len(page) < PAGE or 0 < page[-1].started < since - BEHIND:
                        return Listing(list(found.values()), complete=True)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            raise LedgerUnavailable(f"the hub's ledger cannot be read ({str(error) or type(error).__name__})") from error
        return Listing(list(found.values()), complete=False)

    async def _page(self, session: aiohttp.ClientSession, key_id: str, number: int) -> list[Entry]:
        query = {self._ledger.parameter: self._ledger.key.format(key_id=key_id), "page": str(number), "pageSize": str(PAGE)}
        url, fields = address(self._hub, self._ledger.path), headers(self._hub, self._inject, with_key=True)
        async with session.get(url, params=query, headers=fields, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            body = await answer.content.read(LARGEST + 1)
            while len(body) <= LARGEST and (piece := await answer.content.read(LARGEST + 1 - len(body))):
                body += piece
            return entries_of(json.loads(body))
