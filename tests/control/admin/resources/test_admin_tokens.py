"""Admin tokens through the API."""

from __future__ import annotations

import asyncio
import json

from sidecar.store import names
from sidecar.store.client import Store
from tests.control.admin.conftest import Api


async def test_admin_tokens(api: Api) -> None:
    status, body, _ = await api.call("POST", "/admin/v1/admin-tokens", {"name": "CI", "role": "operator"})
    assert (status, body["admin_token"]["role"]) == (201, "operator")
    assert body["token"].startswith("sat_")
    _, me, _ = await api.call("GET", "/admin/v1/whoami", token=body["token"])
    assert me["actor"] == {"type": "admin_token", "id": body["admin_token"]["id"], "name": "CI", "role": "operator"}
    _, listed, _ = await api.call("GET", "/admin/v1/admin-tokens")
    assert [one["name"] for one in listed["data"]] == ["first", "CI"]
    assert body["token"] not in json.dumps(listed)
    assert (await api.call("POST", "/admin/v1/admin-tokens", {"name": "x", "role": "root"}))[0] == 400
    assert (await api.call("POST", "/admin/v1/admin-tokens", {"name": " "}))[0] == 400


async def test_two_that_end_the_last_admins_at_once_leave_one(api: Api) -> None:
    await api.call("POST", "/admin/v1/admin-tokens", {"name": "second", "role": "admin"})
    _, listed, _ = await api.call("GET", "/admin/v1/admin-tokens")
    first, second = (one["id"] for one in listed["data"])
    ends = await asyncio.gather(*(api.call("DELETE", f"/admin/v1/admin-tokens/{one}") for one in (second, first)))
    # Who comes second may find its own token revoked.
    assert [end[0] for end in ends].count(200) == 1


async def test_a_token_that_only_a_newer_version_can_read_is_revoked_like_any_other(api: Api, store: Store) -> None:
    stored = {
        "newer": {"id": "sat_newer00000000000", "name": "newer", "role": "auditor", "hint": "sat_…1234", "created_at": 1.0},
        "none": 5,
    }
    for digest, record in stored.items():
        await store.call("HSET", names.ADMIN_TOKENS, digest, json.dumps(record))
    await store.call("HSET", names.ADMIN_TOKENS, "broken", b"\xff{")
    await api.call("POST", "/admin/v1/admin-tokens", {"name": "leaked", "role": "admin"})
    _, listed, _ = await api.call("GET", "/admin/v1/admin-tokens")
    assert [one["name"] for one in listed["data"]] == ["first", "leaked"]
    leaked = listed["data"][1]["id"]
    assert (await api.call("DELETE", f"/admin/v1/admin-tokens/{leaked}"))[0] == 200
    status, body, _ = await api.call("DELETE", "/admin/v1/admin-tokens/sat_newer00000000000")
    assert (status, body["admin_token"]["name"]) == (200, "newer")
    assert (await api.call("DELETE", "/admin/v1/admin-tokens/sat_newer00000000000"))[0] == 404
