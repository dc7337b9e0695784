"""What the audit log says of a verdict on an anomaly, with the detection that keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.control.admin.services import AdminServices
from sidecar.control.anomaly.compose import Detection, compose
from sidecar.control.anomaly.record import Anomaly
from sidecar.keys.digest import Digester
from sidecar.store.client import Store
from tests.control.admin.conftest import Api, Clock, make_services
from tests.support.keys import PEPPER

NOW = 2_000_000_000.0


@pytest.fixture
def clock() -> Clock:
    """Time that stands still."""

    class Still(Clock):
        def __call__(self) -> float:
            return NOW + self.offset

    return Still()


async def _nothing() -> None:
    return


@pytest.fixture
async def detection(store: Store, tmp_path: Path, clock: Clock) -> tuple[AdminServices, Detection]:
    """The services with a real detection, which knows one anomaly that is over."""
    services, _ = await make_services(store, tmp_path / "data", clock)
    digester = Digester("ahk", PEPPER)
    detection = compose(
        services.settings,
        store,
        services.keys,
        services.audit,
        instance="one",
        digester=digester,
        in_flight=dict,
        guard=_nothing,
        clock=clock,
    )
    over = Anomaly(
        id="anm_1", subject="key", key_id="key_1", key_name="billing", source="", level="page", score=6, started_at=NOW - 90000,
        updated_at=NOW - 80000, ended_at=NOW - 80000, state="closed", instance="all",
    )  # fmt: skip
    await detection.engine.storage.save([], [over])
    return replace(services, anomalies=detection.queries), detection


@pytest.fixture
def services(detection: tuple[AdminServices, Detection]) -> AdminServices:
    return detection[0]


async def _changes(api: Api, action: str) -> list[dict[str, Any]]:
    return [event["changes"] for event in await api.events(f"action={action}")]


async def test_the_record_of_a_mute_says_until_when_and_what_was_before(api: Api) -> None:
    for duration in ("1h", "2h", "0s"):
        assert (await api.call("POST", "/admin/v1/anomalies/anm_1/mute", {"duration": duration}))[0] == 200
    first, second, end = (f"2033-05-18T0{hour}:33:20Z" for hour in (4, 5, 3))
    assert await _changes(api, "anomaly.muted") == [
        {"muted_until": {"old": second, "new": end}},
        {"muted_until": {"old": first, "new": second}},
        {"muted_until": {"old": None, "new": first}},
    ]
    _, body, _ = await api.call("GET", "/admin/v1/anomalies")
    assert body["data"][0]["muted_until"] == end


async def test_what_was_acknowledged_already_is_answered_as_it_is_and_not_recorded_again(api: Api) -> None:
    path = "/admin/v1/anomalies/anm_1/acknowledge"
    status, first, _ = await api.call("POST", path, {"reason": "a deployment"})
    assert (status, first["anomaly"]["state"], first["anomaly"]["reason"]) == (200, "acknowledged", "a deployment")
    api.clock.offset += 60
    status, second, _ = await api.call("POST", path, {"reason": "me too"})
    assert (status, second) == (200, first)
    await api.services.audit.settle()
    events = await api.events("action=anomaly.acknowledged")
    assert [(event["outcome"], event["reason"]) for event in events] == [("success", "a deployment")]
    assert events[0]["changes"] == {"state": {"old": "closed", "new": "acknowledged"}}
