"""The audit log through the API: every act is in it, and nothing secret."""

from __future__ import annotations

import hashlib
import json

import pytest

from sidecar.store import names
from tests.control.admin.conftest import Api


async def test_every_act_is_recorded(api: Api) -> None:
    key, secret = await api.key(name="App", limits={"rpm": 5})
    path = f"/admin/v1/keys/{key['id']}"
    await api.call("PATCH", path, {"limits": {"rpm": 6}, "owner": "ops"}, headers={"X-Request-Id": "trace-1", "User-Agent": "tester"})
    await api.call("POST", f"{path}/rotate")
    await api.call("POST", f"{path}/disable", {"reason": "holiday"})
    await api.call("POST", f"{path}/enable")
    await api.call("POST", "/admin/v1/keys/identify", {"token": secret})
    await api.call("POST", f"{path}/revoke")
    await api.call("POST", f"{path}/enable")
    token = await api.admin_token("viewer")
    events = await api.events(f"target={key['id']}")
    assert [event["action"] for event in events] == [
        "api_key.revoked", "api_key.identified", "api_key.enabled", "api_key.disabled", "api_key.rotated", "api_key.updated",
        "api_key.created",
    ]  # fmt: skip
    updated = events[5]
    assert updated["changes"] == {
        "limits": {"old": {"rpm": 5}, "new": {"rpm": 6}},
        "owner": {"old": None, "new": "ops"},
    }
    assert (updated["actor"]["type"], updated["actor"]["name"], updated["outcome"]) == ("admin_token", "first", "success")
    assert (updated["source"], updated["request_id"]) == ({"address": "127.0.0.1", "agent": "tester"}, "trace-1")
    assert events[3]["reason"] == "holiday"
    disabled, enabled = ({"disabled": {"old": not new, "new": new}} for new in (True, False))
    assert (events[3]["changes"], events[2]["changes"]) == (disabled, enabled)
    assert "disabled" not in events[6]["changes"]
    assert events[0]["changes"]["revoked_at"]["old"] is None
    everything = json.dumps(await api.events("limit=1000"))
    stored = await api.services.keys.get(key["id"])
    assert stored is not None
    for hidden in (secret, token, api.token, *(one.digest for one in stored.secrets)):
        assert hidden not in everything


async def test_the_log_can_be_paged_verified_and_exported(api: Api) -> None:
    for number in range(5):
        await api.key(name=f"k{number}")
    _, page, _ = await api.call("GET", "/admin/v1/audit-events?limit=3")
    _, rest, _ = await api.call("GET", f"/admin/v1/audit-events?limit=3&cursor={page['next_cursor']}")
    assert [event["sequence"] for event in page["data"] + rest["data"]] == [5, 4, 3, 2, 1]
    assert rest["next_cursor"] is None
    _, body, _ = await api.call("GET", "/admin/v1/audit-events/verify")
    verdict = body["verdict"]
    assert (verdict["ok"], verdict["events"]) == (True, 5)
    status, text, response = await api.call("GET", "/admin/v1/audit-events", headers={"Accept": "application/x-ndjson"})
    assert (status, response.content_type) == (200, "application/x-ndjson")
    before = "0" * 64
    for line in text.splitlines():
        event = json.loads(line)
        recorded = event.pop("hash")
        assert event["prev_hash"] == before
        before = hashlib.sha256(json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
        assert before == recorded
    assert before == verdict["head_hash"]


async def test_an_event_that_cannot_be_read_hides_no_other(api: Api) -> None:
    await api.key(name="a")
    store = api.services.audit._store
    await store.call("XADD", names.AUDIT, "2-0", "event", b'{"outcome":"partial","action":"api_key.paused"}', "hash", "x")
    await store.call("HSET", names.AUDIT_HEAD, "sequence", 2, "hash", "x")
    await api.key(name="b")
    events = await api.events()
    assert [(event["sequence"], event["action"]) for event in events] == [
        (3, "api_key.created"),
        (2, "api_key.paused"),
        (1, "api_key.created"),
    ]
    assert (events[1]["hash"], events[1]["outcome"]) == ("x", "unknown")
    status, text, _ = await api.call("GET", "/admin/v1/audit-events", headers={"Accept": "application/x-ndjson"})
    assert (status, len(text.splitlines())) == (200, 3)


@pytest.mark.parametrize("cursor", ["%0A", "5%0A", "x", "-1", "+1", "9" * 17])
async def test_a_cursor_that_is_none_is_refused(api: Api, cursor: str) -> None:
    status, body, _ = await api.call("GET", f"{api.base}/admin/v1/audit-events?cursor={cursor}")
    assert (status, body["error"]["param"]) == (400, "cursor")
