"""What is suspected of keys right now: the open anomaly of each, the worst if there are several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.control.admin import endpoints
from sidecar.control.admin.messages.anomalies import AnomalyList
from sidecar.control.console.visit import Visit
from sidecar.control.queries import AnomalyQueries

MOST = 1000


@dataclass(frozen=True, slots=True)
class Risk:
    """The suspicion of one key."""

    key_id: str
    level: str
    score: int


async def open_risks(visit: Visit) -> dict[str, Risk]:
    """Of all keys, by key id; of the `MOST` latest. Anomalies of networks, which belong to no key, are left out."""
    answer = await visit.ask(endpoints.LIST_ANOMALIES, query={"state": "open", "limit": str(MOST)})
    assert isinstance(answer.document, AnomalyList)
    return _worst(answer.document.data)


async def risks_of(anomalies: AnomalyQueries | None, key_ids: Sequence[str]) -> dict[str, Risk]:
    """Of these keys, by key id; without a detection there are none. Raises StoreUnavailable."""
    return _worst(await anomalies.open_of(key_ids)) if anomalies is not None else {}


def _worst(documents: Iterable[Mapping[str, Any]]) -> dict[str, Risk]:
    found: dict[str, Risk] = {}
    for document in documents:
        risk = _risk(document)
        known = found.get(risk.key_id)
        if risk.key_id and (known is None or risk.score > known.score):
            found[risk.key_id] = risk
    return found


def _risk(document: Mapping[str, Any]) -> Risk:
    return Risk(document.get("key_id") or "", document.get("level", "warn"), int(document.get("score", 0)))
