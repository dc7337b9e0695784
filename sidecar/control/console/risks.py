"""What is suspected of keys right now: the open anomaly of each, the worst if there are several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.control.admin import endpoints
from sidecar.control.admin.messages.operations import AnomalyList
from sidecar.control.console.visit import Visit

MOST = 1000


@dataclass(frozen=True, slots=True)
class Risk:
    """The suspicion of one key."""

    key_id: str
    level: str
    score: int


async def open_risks(visit: Visit) -> dict[str, Risk]:
    """By key id. Anomalies of networks, which belong to no key, are left out."""
    answer = await visit.ask(endpoints.LIST_ANOMALIES, query={"state": "open", "limit": str(MOST)})
    assert isinstance(answer.document, AnomalyList)
    found: dict[str, Risk] = {}
    for document in answer.document.data:
        risk = _risk(document)
        known = found.get(risk.key_id)
        if risk.key_id and (known is None or risk.score > known.score):
            found[risk.key_id] = risk
    return found


def _risk(document: Mapping[str, Any]) -> Risk:
    return Risk(document.get("key_id") or "", document.get("level", "warn"), int(document.get("score", 0)))
