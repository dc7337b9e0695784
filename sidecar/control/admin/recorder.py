"""Between the calls and the audit log: what of a call goes into its record, and how failures are kept few.

Failed authentication is recorded too, but anybody can cause it at any rate, so only a few from each
source and a bounded number in all; how many were left out is said in the next record.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from sidecar.control.admin.authentication import NOBODY, Actor
from sidecar.control.admin.endpoint import Call
from sidecar.control.admin.errors import AUDIT_JOURNAL_UNAVAILABLE, AdminError
from sidecar.control.admin.origin import address, agent, request_id
from sidecar.control.audit import Act, AuditLog, Change, Party, Source, Unrecordable, draft
from sidecar.redaction import without_secrets
from sidecar.throttle import Throttle, source_of

_ALL = ""
_AIMED_AT = {"key_id": "api_key", "token_id": "admin_token", "anomaly_id": "anomaly"}
"""What a path may name that calls act on."""

_log = logging.getLogger(__name__)


class Recorder:
    """Writes audit records for calls; `clock` gives Unix seconds."""

    def __init__(self, audit: AuditLog, clock: Callable[[], float]) -> None:
        self._audit = audit
        self._clock = clock
        # Not by `clock`: were that put back, no failure would be recorded until it is again where it was.
        self._each = Throttle(burst=5, interval=60.0)
        self._all = Throttle(burst=100, interval=10.0)
        self._left_out = 0

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    @asynccontextmanager
    async def act(
        self, call: Call[Any, Any], action: str, target: Party | None, changes: dict[str, Change] | None = None, reason: str = ""
    ) -> AsyncIterator[Act]:
        """Surround an act of `call` with its record; see `AuditLog.act`. Blanks and line ends around `reason` are left out, and
        secrets in it.

        Raises AdminError before the act when no record can be written.
        """
        event = draft(
            action,
            party(call.actor),
            now=self._clock(),
            target=target,
            changes=changes,
            # A client that pipes its reason in sends a line feed behind it, which no pattern that ends in `$` refuses.
            # Of a key that leaked people tell by the key itself, and the log is there for viewers and for ever.
            reason=without_secrets(reason.strip()),
            source=Source(call.address, call.agent),
            request_id=call.request_id,
        )
        try:
            async with self._audit.act(event) as act:
                yield act
        except Unrecordable as error:
            _log.error("%s was not done: the audit journal in data_dir cannot be written (%s)", action, error.strerror)
            raise AdminError(AUDIT_JOURNAL_UNAVAILABLE) from error

    async def failed_authentication(self, error: AdminError, source: str) -> None:
        """Record that somebody tried to get in from `source`, an address."""
        await self._failure("admin.authentication_failed", NOBODY, error.problem.code, Source(source), "")

    async def forbidden(self, actor: Actor, operation: str, request: web.Request) -> None:
        """Record that an actor tried what its role does not allow, and on what."""
        source = Source(address(request), agent(request))
        await self._failure("admin.forbidden", actor, operation, source, request_id(request), _aimed_at(request.match_info))

    async def _failure(self, action: str, actor: Actor, reason: str, source: Source, request_id: str, target: Party | None = None) -> None:
        who = source_of(source.address)
        if self._each.wait(who) or self._all.wait(_ALL):
            self._left_out += 1
            return
        self._each.charge(who)
        self._all.charge(_ALL)
        if self._left_out:
            reason = f"{reason}; {self._left_out} failures before this one were not recorded"
            self._left_out = 0
        event = draft(
            action,
            party(actor),
            now=self._clock(),
            target=target,
            outcome="denied",
            reason=reason,
            source=source,
            request_id=request_id,
        )
        await self._audit.append(event)


def party(actor: Actor) -> Party:
    """An actor as the audit log names it."""
    return Party(actor.type, actor.id, actor.name)


def _aimed_at(path: Mapping[str, str]) -> Party | None:
    """What the parameters of a path name. It need not exist: nothing is looked up for a call that is refused."""
    return next((Party(kind, path[name]) for name, kind in _AIMED_AT.items() if name in path), None)
