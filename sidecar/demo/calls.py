"""The demo hub's own ledger: one entry for each call, whether or not its client stayed to hear the end."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

CREDITS_FOR_A_TOKEN = 0.001
KEPT_CALLS = 10_000


@dataclass(slots=True)
class Ledger:
    """The calls of one hub, newest first."""

    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_CALLS))
    _numbers: Any = field(default_factory=lambda: itertools.count(780252160259624960))

    def add(
        self, app: str, request_id: str, endpoint: str, kind: str, model: str, read: int, written: int, *, pictures: int = 0
    ) -> dict[str, Any]:
        """Bill a call; returns the entry, whose `id` and `credits` go into the answer."""
        now = int(time.time())
        call = {
            "id": str(next(self._numbers)),
            "model": model.rpartition("/")[2],
            "type": kind,
            "totalUsage": read + written,
            "usageMetrics": {
                "inputTokens": read,
                "outputTokens": written,
                "totalTokens": read + written,
                "cacheCreationInputTokens": 0,
                "cacheReadInputTokens": 0,
                "numberOfImageGeneration": pictures,
            },
            "credits": round((read + written) * CREDITS_FOR_A_TOKEN + pictures * 0.04, 6),
            "status": "success",
            "duration": 0,
            "errorReason": None,
            "appDid": app,
            "userDid": "z1demoOwner",
            "requestId": request_id,
            "metadata": {"endpoint": endpoint, "startTime": now, "phase": "completed", "originalModel": model, "completedAt": now},
            "callTime": now,
            "ttfb": None,
            "providerTtfb": 3.5,
        }
        self.calls.appendleft(call)
        return call

    def page(self, app: str | None, page: int, size: int) -> dict[str, Any]:
        """What `GET /api/user/model-calls` answers."""
        found = [call for call in self.calls if app is None or call["appDid"] == app]
        first = (page - 1) * size
        return {"count": len(found), "list": found[first : first + size], "paging": {"page": page, "pageSize": size}}

    def projects(self) -> dict[str, Any]:
        """What `GET /api/usage/projects` answers."""
        projects: dict[str, dict[str, Any]] = {}
        for call in self.calls:
            app = call["appDid"]
            project = projects.setdefault(
                app, {"appDid": app, "appName": app, "totalCalls": 0, "totalCredits": 0.0, "lastCallTime": call["callTime"]}
            )
            project["totalCalls"] += 1
            project["totalCredits"] = round(project["totalCredits"] + call["credits"], 6)
        return {"projects": list(projects.values()), "total": len(projects), "page": 1, "pageSize": 20}
