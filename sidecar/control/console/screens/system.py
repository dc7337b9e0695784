"""System: store, hub, workers, spool, versions, and the configuration with its secrets masked."""

from __future__ import annotations

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.messages.operations import StatusAnswer
from sidecar.control.admin.services import AdminServices
from sidecar.control.console.facts import PARTS, WORKERS, facts, row
from sidecar.control.console.visit import Screen, Visit
from sidecar.settings.show import as_yaml


class System:
    """The sidecar's own state."""

    def __init__(self, services: AdminServices) -> None:
        self._configuration = as_yaml(services.settings)

    def screens(self) -> list[Screen]:
        """One."""
        return [Screen("GET", "/system", self.show)]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """The page; it also opens while parts are down."""
        answer = await visit.ask(endpoints.STATUS)
        assert isinstance(answer.document, StatusAnswer)
        return visit.page(
            "system.html",
            parts={name: facts(getattr(answer.document, name), names) for name, names in PARTS.items()},
            heads=[label for label, _ in WORKERS.values()],
            workers=[row(worker) for worker in answer.document.workers],
            configuration=self._configuration,
        )
