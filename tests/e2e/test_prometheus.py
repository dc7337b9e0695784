"""A real Prometheus scrapes a live sidecar, and what PromQL reads back is what the usage API says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.prometheus import HINT, prometheus
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.tools import require

SOON = 20.0


def check_metrics(sidecar: Sidecar) -> str:
    """What `promtool check metrics` says of /metrics."""
    text = call("GET", f"{sidecar.metrics_url}/metrics").body
    done = subprocess.run([require("promtool", install=HINT), "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    return (done.stdout + done.stderr).decode()


def test_what_prometheus_scrapes_is_what_the_usage_api_says(tmp_path: Path) -> None:
    require("prometheus", install=HINT)
    with hub_process() as hub, Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        keys = dict(sidecar.create_key(name=f'odd "name" \\ {number} ☃') for number in range(3))
        limited, limited_secret = sidecar.create_key(limits={"rpm": 2})
        with prometheus(tmp_path, sidecar.metrics_url.removeprefix("http://")) as server:
            # The rows are there at 0 before the first request, so that increase() sees it.
            wait_until(lambda: server.number("sum(sidecar_key_requests_total)") == 0, within=SOON, what="rows at 0")
            sidecar.ask("ahk_nobody")
            for number, secret in enumerate(keys.values()):
                for turn in range(3 + number):
                    sidecar.ask(secret, body=chat("openai/gpt-5-mini" if turn else "demo/error", streaming=turn == 1))
            for _ in range(5):
                sidecar.ask(limited_secret)
            wait_until(lambda: usage(sidecar)["totals"]["requests"] == 3 + 4 + 5 + 5, within=SOON, what="the ledger")
            everything = usage(sidecar, "?group_by=key")
            totals = everything["totals"]
            wait_until(lambda: server.number("sum(sidecar_key_requests_total)") == totals["requests"], within=SOON, what="the scrape")
            # It has no key, so it is not among those, and another worker may tell of it.
            strangers = 'sum(sidecar_auth_failures_total{reason="invalid_api_key"})'
            wait_until(lambda: server.number(strangers) == 1, within=SOON, what="the stranger in the scrape")

            by_key = {group["by"]: group["totals"] for group in everything["groups"]}
            assert server.query("sum by (key_id) (sidecar_key_requests_total)") == {
                (key,): sums["requests"] for key, sums in by_key.items()
            }
            for kind in ("input", "output"):
                assert server.number(f'sum(sidecar_key_tokens_total{{token_type="{kind}"}})') == totals[f"{kind}_tokens"] > 0
            assert (
                server.number('sum(sidecar_key_requests_total{outcome=~"client_error|hub_error|sidecar_error"})') == totals["errors"] == 3
            )
            assert server.number('sum(sidecar_key_requests_total{outcome=~"denied|rate_limited"})') == totals["denied"] == 3
            assert server.number(f'sum(sidecar_key_requests_total{{key_id="{limited}",reason="rate_limit_exceeded"}})') == 3
            by_outcome = {(group["by"],): group["totals"]["requests"] for group in usage(sidecar, "?group_by=outcome")["groups"]}
            assert server.query("sum by (outcome) (sidecar_key_requests_total) > 0") == by_outcome
            assert server.number("sum(sidecar_key_request_duration_seconds_count)") == totals["requests"]
            assert server.number("sum(sidecar_key_requests_total * on (key_id) group_left (name) sidecar_key_info)") == totals["requests"]
            # From before the first request on, so nothing of it is missing.
            wait_until(lambda: server.number("sum(increase(sidecar_key_requests_total[5m])) > bool 0") == 1, within=SOON)
            (target,) = server.targets()
            assert (target["health"], target["lastError"]) == ("up", "")
            assert server.number('sum(scrape_samples_scraped{job="sidecar"})') > 0
        assert check_metrics(sidecar) == ""


def chat(model: str, *, streaming: bool) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": model}},
        "options": {"streaming": streaming},
    }


def usage(sidecar: Sidecar, query: str = "") -> Any:
    return json.loads(sidecar.admin("GET", f"/usage{query}").body)
