"""Reads a hub's own list of calls. Pure: a JSON document gives entries.

Values are judged one by one, as those in answers are: garbage counts as nothing said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sidecar.events.record import Tokens
from sidecar.hubs.usage.tally import amount, count

_FINAL = ("success", "failed")


@dataclass(frozen=True, slots=True)
class Entry:
    """One call in the hub's ledger; times are Unix seconds. What is not `final` may still change."""

    request_id: str
    started: float
    ended: float
    final: bool
    tokens: Tokens
    id: str = ""
    """The hub's own name for it; empty when it has none."""


def entries_of(document: Any) -> list[Entry]:
    """The calls of one page in the form `aigne`, newest first; raises ValueError when it is no such page.

    What is no call has its place among them: a page that is full is not the last.
    """
    listed = document.get("list") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the answer has no list of calls")
    return [_entry(call if isinstance(call, dict) else {}) for call in listed]


def _entry(call: dict[str, Any]) -> Entry:
    metadata, metrics = _part(call, "metadata"), _part(call, "usageMetrics")
    request_id = call.get("requestId")
    started = amount(call.get("callTime")) or amount(metadata.get("startTime")) or 0.0
    tokens = Tokens(
        count(metrics.get("inputTokens")) or 0,
        count(metrics.get("outputTokens")) or 0,
        count(metrics.get("cacheReadInputTokens")) or 0,
        count(metrics.get("cacheCreationInputTokens")) or 0,
        amount(call.get("credits")) or 0.0,
        count(metrics.get("numberOfImageGeneration")) or 0,
    )
    return Entry(
        request_id if isinstance(request_id, str) else "",
        started,
        amount(metadata.get("completedAt")) or started,
        call.get("status") in _FINAL,
        tokens,
        str(call.get("id") or ""),
    )


def _part(call: dict[str, Any], name: str) -> dict[str, Any]:
    part = call.get(name)
    return part if isinstance(part, dict) else {}
