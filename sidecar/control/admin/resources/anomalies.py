"""Anomalies: the list with its evidence, and what an operator says to one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from sidecar.control.admin import endpoints
from sidecar.control.admin.decoding import faulty
from sidecar.control.admin.endpoint import Answer, Call, Nothing, Route
from sidecar.control.admin.errors import NOT_FOUND, AdminError
from sidecar.control.admin.messages.anomalies import Acknowledgement, AnomaliesQuery, AnomalyAnswer, AnomalyList, AnomalyObject, Mute
from sidecar.control.admin.recorder import Recorder
from sidecar.control.audit import Change, Party, Unchanged
from sidecar.control.queries import AnomalyQueries, Judged
from sidecar.redaction import without_secrets
from sidecar.settings.values import Duration


class _AcknowledgedAlready(Unchanged):
    """Somebody has: this call changed nothing."""


class Anomalies:
    """Serves `anomalies.*`; without a detection there are none."""

    def __init__(self, anomalies: AnomalyQueries | None, recorder: Recorder) -> None:
        self._anomalies = anomalies
        self._recorder = recorder

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [
            endpoints.LIST_ANOMALIES.bind(self.list),
            endpoints.ACKNOWLEDGE.bind(self.acknowledge),
            endpoints.MUTE.bind(self.mute),
        ]

    async def list(self, call: Call[AnomaliesQuery, Nothing]) -> Answer:
        """One page."""
        if self._anomalies is None:
            return Answer(200, AnomalyList(data=[], next_cursor=None))
        query = call.query
        try:
            page = await self._anomalies.anomalies(
                key_id=query.key, state=query.state, level=query.level, limit=query.limit, cursor=query.cursor
            )
        except ValueError:
            raise faulty([("cursor", "is not a cursor that this list has given out")]) from None
        return Answer(200, AnomalyList(data=[_shown(one) for one in page.documents], next_cursor=page.next_cursor or None))

    async def acknowledge(self, call: Call[Nothing, Acknowledgement]) -> Answer:
        """Close one; one that was closed so already stays as it is."""
        anomalies, anomaly_id = self._running(), call.path["anomaly_id"]
        target = Party("anomaly", anomaly_id)
        with suppress(_AcknowledgedAlready):
            async with self._recorder.act(call, "anomaly.acknowledged", target, reason=call.body.reason) as act:
                try:
                    document = await anomalies.acknowledge(anomaly_id, without_secrets(call.body.reason), call.actor.id)
                except LookupError:
                    raise _unknown() from None
                if document.before["state"] == "acknowledged":
                    raise _AcknowledgedAlready
                act.on(target, _changes(document, "state"))
        return Answer(200, AnomalyAnswer(anomaly=_shown(document)))

    async def mute(self, call: Call[Nothing, Mute]) -> Answer:
        """Silence one for a time; 0s lets it speak again."""
        anomalies, anomaly_id = self._running(), call.path["anomaly_id"]
        target = Party("anomaly", anomaly_id)
        seconds = Duration.parse(call.body.duration)
        async with self._recorder.act(call, "anomaly.muted", target, reason=call.body.reason) as act:
            try:
                document = await anomalies.mute(anomaly_id, self._recorder.now() + seconds)
            except LookupError:
                raise _unknown() from None
            act.on(target, _changes(document, "muted_until"))
        return Answer(200, AnomalyAnswer(anomaly=_shown(document)))

    def _running(self) -> AnomalyQueries:
        if self._anomalies is None:
            raise _unknown()
        return self._anomalies


def _shown(document: dict[str, Any]) -> AnomalyObject:
    """The document as what it is to clients; a test holds the one against the other."""
    return cast(AnomalyObject, document)


def _changes(document: Judged, member: str) -> dict[str, Change]:
    """The one member that the act was to change, for the audit log."""
    return {member: Change(document.before.get(member), document.get(member))}


def _unknown() -> AdminError:
    return AdminError(NOT_FOUND, "There is no anomaly with this id.", param="anomaly_id")
