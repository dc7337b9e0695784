"""The hub's own ledger fills in what its answers leave out, with every part real: hub, workers, control process, store."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.access_key import ACCESS_KEY
from tests.support.hub import HubProcess, hub_process
from tests.support.sidecar import Sidecar, call, wait_until

SOON = 60.0
MESSAGES = [{"role": "user", "content": "one two three"}]


def chat(model: str, *, streaming: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {"input": {"messages": MESSAGES, "modelOptions": {"model": model}}}
    return {**body, "options": {"streaming": True}} if streaming else body


def billed(hub: HubProcess, key_id: str) -> list[dict[str, Any]]:
    url = f"{hub.url}api/user/model-calls?appDid={key_id}@sidecar&pageSize=100"
    listed: list[dict[str, Any]] = json.loads(call("GET", url, None, {"Authorization": f"Bearer {ACCESS_KEY}"}).body)["list"]
    return listed


def totals_of(sidecar: Sidecar, key_id: str) -> dict[str, Any]:
    answer = sidecar.admin("GET", f"/keys/{key_id}/usage")
    totals: dict[str, Any] = answer.json["totals"] if answer.status == 200 else {}
    return totals


def test_the_ledger_fills_in_what_answers_left_out_once_through_a_kill(tmp_path: Path) -> None:
    with (
        hub_process() as hub,
        Sidecar(tmp_path, hub.url, ACCESS_KEY, reconcile__enabled="true", reconcile__every="300ms", proxy__workers="2") as sidecar,
    ):
        key_id, secret = sidecar.create_key()
        for _ in range(3):
            assert sidecar.ask(secret, body=chat("demo/silent")).status == 200
            assert sidecar.ask(secret, body=chat("openai/gpt-5-mini")).status == 200
            assert sidecar.ask(secret, body=chat("openai/gpt-5-mini", streaming=True)).status == 200
        wait_until(lambda: totals_of(sidecar, key_id).get("requests") == 9, within=SOON)
        # The control process forgets nothing of what it still has to ask.
        (control,) = sidecar.children("control")
        os.kill(control, signal.SIGKILL)
        bills = billed(hub, key_id)
        assert len(bills) == 9
        read = sum(bill["usageMetrics"]["inputTokens"] for bill in bills)
        written = sum(bill["usageMetrics"]["outputTokens"] for bill in bills)
        wait_until(lambda: totals_of(sidecar, key_id).get("input_tokens") == read, within=SOON, what="the ledger's tokens in the usage API")
        wait_until(lambda: sidecar.metric("sidecar_metering_unreconciled_calls") == 0, within=SOON)
        # What was found is on its way to the store; tokens of streams were known before, their credits were not.
        credits = pytest.approx(sum(bill["credits"] for bill in bills))
        wait_until(lambda: totals_of(sidecar, key_id).get("credits") == credits, within=SOON, what="the ledger's credits in the usage API")
        totals = totals_of(sidecar, key_id)
        assert (totals["requests"], totals["input_tokens"], totals["output_tokens"]) == (9, read, written)
        assert sidecar.metric("sidecar_key_tokens_total", key_id=key_id, token_type="output") == written
        assert sidecar.metric("sidecar_metering_reconciled_total", key_id=key_id) == 6, "3 silent calls, 3 streams without credits"
        wait_until(lambda: sidecar.metric("sidecar_metering_ledger_up") == 1, within=SOON)
        assert sidecar.metric("sidecar_metering_drift_tokens", key_id=key_id) == 0
        calls = sidecar.admin("GET", f"/requests?key={key_id}").json["data"]
        assert sorted(each["usage_source"] for each in calls) == ["hub"] * 3 + ["ledger"] * 6
        assert sidecar.stop() == 0


def test_by_default_the_hub_is_asked_nothing(tmp_path: Path) -> None:
    with hub_process() as hub, Sidecar(tmp_path, hub.url, ACCESS_KEY, reconcile__every="100ms") as sidecar:
        key_id, secret = sidecar.create_key()
        assert sidecar.ask(secret, body=chat("demo/silent")).status == 200
        wait_until(lambda: totals_of(sidecar, key_id).get("requests") == 1, within=SOON)
        assert [request["target"] for request in hub.requests()] == ["/api/v2/chat"]
        assert sidecar.metric("sidecar_metering_unreconciled_calls") == 0
