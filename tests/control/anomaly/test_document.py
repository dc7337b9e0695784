from __future__ import annotations

import json

import jsonschema_rs
import pytest

from sidecar.control.admin import openapi
from sidecar.control.admin.endpoints import ENDPOINTS
from sidecar.control.admin.messages.anomalies import AnomalyObject, ResponseObject, SignalObject, UndoCall
from sidecar.control.anomaly.document import document, time
from sidecar.control.anomaly.record import Anomaly, Evidence, Response


def test_a_document_is_json_and_says_how_to_take_an_act_back() -> None:
    anomaly = Anomaly(
        id="anm_1", subject="key", key_id="key_1", key_name="billing", source="", level="page", score=6, started_at=0.0, updated_at=61.5,
        signals=[Evidence("gone_signal", 1, 0.0, "of another version")],
        responses=[
            Response("disable", False, 60.0),
            Response("throttle", True, 60.0, until=120.0),
            Response("disable", False, 60.0, failed="the key is gone"),
        ],
    )  # fmt: skip
    shown = document(anomaly)
    json.dumps(shown)
    assert [response["undo"] for response in shown["responses"]] == [
        {"method": "POST", "path": "/admin/v1/keys/key_1/enable"},
        None,
        None,
    ]
    assert (shown["started_at"], shown["updated_at"], shown["paged_at"]) == ("1970-01-01T00:00:00Z", "1970-01-01T00:01:01Z", None)
    assert shown["signals"][0]["meaning"] == ""


def test_a_document_is_what_the_openapi_document_says_of_it() -> None:
    anomaly = Anomaly(
        id="anm_1", subject="key", key_id="key_1", key_name="billing", source="", level="page", score=6, started_at=0.0, updated_at=61.5,
        signals=[Evidence("new_network", 3, 0.0, "a network that is new")], policy="disable", responses=[Response("disable", False, 60.0)],
    )  # fmt: skip
    shown = document(anomaly)
    (response,) = shown["responses"]
    told = (AnomalyObject, shown), (SignalObject, shown["signals"][0]), (ResponseObject, response), (UndoCall, response["undo"])
    for message, members in told:
        assert set(members) == set(message.__annotations__), message.__name__
    schemas = openapi.document(ENDPOINTS, "")["components"]
    jsonschema_rs.validator_for({"$ref": "#/components/schemas/AnomalyObject", "components": schemas}).validate(shown)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00Z"),
        (1795933222.999, "2026-11-29T06:20:22Z"),
        (1795933222056.0, "9999-12-31T23:59:59Z"),
        (float("inf"), "9999-12-31T23:59:59Z"),
        (-1e15, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_shown_to_the_second_and_within_the_calendar(seconds: float | None, shown: str | None) -> None:
    assert time(seconds) == shown
