"""The audit log: pages, export, and the check of its chain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from sidecar.control.admin import endpoints
from sidecar.control.admin.endpoint import Answer, Call, Nothing, Route
from sidecar.control.admin.messages.operations import AuditEvent, AuditList, AuditQuery, AuditVerdict
from sidecar.control.admin.resources.usage import span
from sidecar.control.audit import AuditLog, Filter, Sealed

_BATCH = 200


class AuditEvents:
    """Serves `audit.*`."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [endpoints.AUDIT_EVENTS.bind(self.events), endpoints.VERIFY_AUDIT.bind(self.verify)]

    async def events(self, call: Call[AuditQuery, Nothing]) -> Answer:
        """A page, or everything that matches as JSON Lines."""
        query = call.query
        start, end = span(query.from_, query.to)
        wanted = Filter(query.actor, query.action, query.target, query.outcome or "", start, end)
        if call.media is not None:
            return Answer(200, media="application/x-ndjson", stream=self._lines(wanted), filename="audit-events.jsonl")
        page = await self._audit.query(wanted, query.limit, query.cursor)
        return Answer(200, AuditList(data=[_event(sealed) for sealed in page.events], next_cursor=page.next_cursor or None))

    async def verify(self, call: Call[Nothing, Nothing]) -> Answer:
        """Recompute the chain."""
        del call
        return Answer(200, AuditVerdict(verdict=await self._audit.verify()))

    async def _lines(self, wanted: Filter) -> AsyncIterator[bytes]:
        batch: list[bytes] = []
        async for sealed in self._audit.export(wanted):
            batch.append(msgspec.json.encode(_event(sealed), order="sorted"))
            if len(batch) == _BATCH:
                yield b"\n".join(batch) + b"\n"
                batch.clear()
        if batch:
            yield b"\n".join(batch) + b"\n"


def _event(sealed: Sealed) -> AuditEvent:
    return AuditEvent(**msgspec.structs.asdict(sealed.event), hash=sealed.hash)
