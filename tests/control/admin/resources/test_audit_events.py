"""The audit log through the API: every act is in it, and nothing secret."""

from __future__ import annotations

import hashlib
import json

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
