"""The sidecar's own state, who is calling, and the description of this API."""

from __future__ import annotations

from typing import Any

from sidecar import __version__
from sidecar.control.admin import endpoints
from sidecar.control.admin.endpoint import Answer, Call, Nothing, Route
from sidecar.control.admin.messages.operations import ActorObject, StatusAnswer, WhoAmI
from sidecar.control.admin.openapi import document
from sidecar.control.admin.recorder import Recorder
from sidecar.control.admin.times import to_time
from sidecar.control.audit import AuditLog
from sidecar.control.queries import StatusQueries


class Status:
    """Serves `status.*`."""

    def __init__(self, status: StatusQueries, audit: AuditLog, recorder: Recorder) -> None:
        self._status = status
        self._audit = audit
        self._recorder = recorder
        self._openapi: dict[str, Any] = document(endpoints.ENDPOINTS, __version__)

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [endpoints.STATUS.bind(self.status), endpoints.WHOAMI.bind(self.whoami), endpoints.OPENAPI.bind(self.openapi)]

    async def status(self, call: Call[Nothing, Nothing]) -> Answer:
        """What is up and what is not."""
        del call
        parts = await self._status.snapshot()
        return Answer(
            200,
            StatusAnswer(
                version=__version__,
                time=to_time(self._recorder.now()),
                store=parts.get("store", {}),
                hub=parts.get("hub", {}),
                workers=parts.get("workers", []),
                spool=parts.get("spool", {}),
                audit={"waiting": self._audit.waiting},
                versions=parts.get("versions", {}),
            ),
        )

    async def whoami(self, call: Call[Nothing, Nothing]) -> Answer:
        """The caller."""
        actor = call.actor
        return Answer(200, WhoAmI(actor=ActorObject(type=actor.type, id=actor.id, name=actor.name, role=actor.role), version=__version__))

    async def openapi(self, call: Call[Nothing, Nothing]) -> Answer:
        """The OpenAPI document."""
        del call
        return Answer(200, self._openapi)
