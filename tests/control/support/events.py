"""Makes events for tests."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any

from sidecar.control.totals.rows import Row
from sidecar.control.totals.sums import Sums
from sidecar.events.record import Event, Request, Tokens, WorkerState
from sidecar.events.wire import encode

_numbers = itertools.count()


def key_id(number: int = 0) -> str:
    return f"key_{number:016d}"


def request(key: str = "", **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "time": time.time(),
        "request_id": f"req_{next(_numbers):012d}",
        "key_id": key,
        "secret_id": f"sec_{key[4:]}" if key else "",
        "outcome": "ok",
        "reason": "",
        "status": 200,
        "hub_status": 200,
        "method": "POST",
        "route": "chat_completions",
        "path": "/api/v1/chat/completions",
        "model": "openai/gpt-4o-mini",
        "model_served": "",
        "client": "192.0.2.7",
        "agent": "openai-python/1.55",
        "streaming": False,
        "ending": "complete",
        "total": 0.02,
        "auth": 0.0001,
        "queue": 0.0,
        "first_byte": 0.015,
        "hub_time": 0.015,
        "bytes_in": 250,
        "bytes_out": 900,
        "tokens": Tokens(12, 30),
        "usage_source": "hub",
        "secret_state": "current" if key else "",
    }
    return Request(**{**fields, **changes})


def denied(key: str = "", reason: str = "invalid_api_key", **changes: Any) -> Request:
    return request(
        key,
        **{"outcome": "denied", "reason": reason, "status": 401, "hub_status": 0, "tokens": Tokens(), "usage_source": "none", **changes},
    )


def state(worker: int = 0, **changes: Any) -> WorkerState:
    fields: dict[str, Any] = {
        "time": time.time(),
        "worker": worker,
        "pid": 4000 + worker,
        "in_flight": {},
        "lease_age": 0.1,
        "loop_lag": 0.001,
        "connections": 3,
        "hub_connections": 2,
        "draining": 0,
        "cache": {"hit": 10, "miss": 1},
        "store_up": True,
        "dropped": 0,
    }
    return WorkerState(**{**fields, **changes})


def sums_of(*events: Event) -> Sums:
    sums = Sums()
    sums.add([encode(event) for event in events])
    return sums


def callers_of(row: Row) -> Counter[tuple[str, str]]:
    """Requests of a row by client address and User-Agent."""
    found: Counter[tuple[str, str]] = Counter()
    caller = row.callers
    while caller is not None:
        found[caller.client, caller.agent] += caller.requests
        caller = caller.after
    return found
