"""An anomaly as the admin API and the notifications show it: JSON-ready, times in RFC 3339."""

from __future__ import annotations

from typing import Any

from sidecar.control.admin.times import to_time
from sidecar.control.anomaly.detectors.signals import BY_NAME
from sidecar.control.anomaly.record import Anomaly


def document(anomaly: Anomaly) -> dict[str, Any]:
    """Everything that people may know of it."""
    return {
        "id": anomaly.id,
        "state": anomaly.state,
        "level": anomaly.level,
        "score": anomaly.score,
        "subject": anomaly.subject,
        "key_id": anomaly.key_id or None,
        "key_name": anomaly.key_name or None,
        "source": anomaly.source or None,
        "summary": anomaly.summary,
        "signals": [
            {
                "signal": evidence.signal,
                "meaning": BY_NAME[evidence.signal].meaning if evidence.signal in BY_NAME else "",
                "weight": evidence.weight,
                "since": time(evidence.since),
                "evidence": evidence.text,
                "active": evidence.signal in anomaly.active,
            }
            for evidence in sorted(anomaly.signals, key=lambda evidence: -evidence.weight)
        ],
        "policy": anomaly.policy or None,
        "responses": [
            {
                "action": response.action,
                "shadow": response.shadow,
                "at": time(response.at),
                "until": time(response.until),
                "failed": response.failed or None,
                "undo": _undo(anomaly, response.action) if not response.shadow and not response.failed else None,
            }
            for response in anomaly.responses
        ],
        "started_at": time(anomaly.started_at),
        "updated_at": time(anomaly.updated_at),
        "warned_at": time(anomaly.warned_at),
        "paged_at": time(anomaly.paged_at),
        "ended_at": time(anomaly.ended_at),
        "acknowledged_at": time(anomaly.acknowledged_at),
        "acknowledged_by": anomaly.acknowledged_by or None,
        "reason": anomaly.reason or None,
        "muted_until": time(anomaly.muted_until),
    }


def time(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, to the second; what lies beyond the calendar, as in a record that was written by hand, becomes its end."""
    return None if seconds is None else to_time(seconds).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _undo(anomaly: Anomaly, action: str) -> dict[str, str] | None:
    """The call that takes an automatic act back; enabling ends a throttle, too."""
    if action not in ("throttle", "disable"):
        return None
    return {"method": "POST", "path": f"/admin/v1/keys/{anomaly.key_id}/enable"}
