"""Anomalies through the API."""

from __future__ import annotations

from sidecar.keys.token import generate
from tests.control.admin.conftest import Api


async def test_anomalies(api: Api) -> None:
    _, body, _ = await api.call("GET", "/admin/v1/anomalies?state=open")
    assert [one["id"] for one in body["data"]] == ["ano_1"]
    status, body, _ = await api.call("POST", "/admin/v1/anomalies/ano_1/acknowledge", {"reason": "a deployment"})
    assert (status, body["anomaly"]["state"]) == (200, "acknowledged")
    status, body, _ = await api.call("POST", "/admin/v1/anomalies/ano_1/mute", {"duration": "1h"})
    assert status == 200
    assert (await api.call("POST", "/admin/v1/anomalies/ano_1/mute", {"duration": "1000d"}))[0] == 400
    assert (await api.call("POST", "/admin/v1/anomalies/ano_2/mute"))[0] == 404
    assert (await api.call("POST", "/admin/v1/anomalies/ano_2/acknowledge"))[0] == 404
    assert (await api.call("GET", "/admin/v1/anomalies?cursor=x"))[0] == 400
    events = await api.events("action=anomaly")
    assert [(event["action"], event["target"]["id"]) for event in events] == [("anomaly.muted", "ano_1"), ("anomaly.acknowledged", "ano_1")]
    assert events[1]["reason"] == "a deployment"


async def test_a_reason_keeps_no_secret(api: Api) -> None:
    secret = generate("ahk")
    _, body, _ = await api.call("POST", "/admin/v1/anomalies/ano_1/acknowledge", {"reason": f"our own test with {secret}"})
    assert body["anomaly"]["reason"] == "our own test with ahk_…"
