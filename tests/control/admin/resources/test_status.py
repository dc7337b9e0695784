"""The sidecar's own state through the API."""

from __future__ import annotations

from tests.control.admin.conftest import Api


async def test_status(api: Api) -> None:
    status, body, _ = await api.call("GET", "/admin/v1/status")
    assert status == 200
    assert {"store", "hub", "workers", "spool", "versions", "audit", "version", "time"} <= set(body)
