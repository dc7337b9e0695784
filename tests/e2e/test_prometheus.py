"""A real Prometheus scrapes a live sidecar, and what PromQL reads back is what the usage API says."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.ports import free_port
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.tools import require

HINT = "apt-get install prometheus"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
SOON = 20.0

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
  - job_name: sidecar
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """A running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """The values of an instant vector by its labels' values."""
        answer = call("GET", f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        result = answer.json["data"]["result"]
        return {tuple(series["metric"].values()): float(series["value"][1]) for series in result}

    def number(self, expression: str) -> float:
        """The value of a vector of one element without labels; -1 when it is empty."""
        return self.query(expression).get((), -1.0)

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = call("GET", f"{self.url}/api/v1/targets").json["data"]["activeTargets"]
        return found


@contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    """Prometheus with `target` as its only one, scraped each second."""
    program = require("prometheus", install=HINT)
    (directory / "prometheus.yml").write_text(CONFIGURATION.format(target=target))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program, f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={url.removeprefix('http://')}", "--log.level=warn",
    ]  # fmt: skip
    with (directory / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            server = Prometheus(url)
            wait_until(lambda: call("GET", f"{url}/-/ready").status == 200, within=30, what="Prometheus")
            yield server
        finally:
            process.terminate()
            process.wait(30)


def check_metrics(sidecar: Sidecar, accept: str) -> str:
    """What `promtool check metrics` says of /metrics."""
    text = call("GET", f"{sidecar.metrics_url}/metrics", headers={"Accept": accept}).body
    done = subprocess.run([require("promtool", install=HINT), "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    return (done.stdout + done.stderr).decode()


def test_what_prometheus_scrapes_is_what_the_usage_api_says(tmp_path: Path) -> None:
    require("prometheus", install=HINT)
    with hub_process() as hub, Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        keys = dict(sidecar.create_key(name=f'odd "name" \\ {number}\u2028') for number in range(3))
        limited, limited_secret = sidecar.create_key(limits={"rpm": 2})
        with prometheus(tmp_path, sidecar.metrics_url.removeprefix("http://")) as server:
            # The rows are there at 0 before the first request, so that increase() sees it.
            wait_until(lambda: server.number("sum(sidecar_key_requests_total)") == 0, within=SOON, what="rows at 0")
            for number, secret in enumerate(keys.values()):
                for turn in range(3 + number):
                    sidecar.ask(secret, body=chat("openai/gpt-5-mini" if turn else "demo/error", streaming=turn == 1))
            for _ in range(5):
                sidecar.ask(limited_secret)
            sidecar.ask("ahk_nobody")
            wait_until(lambda: usage(sidecar)["totals"]["requests"] == 3 + 4 + 5 + 5, within=SOON, what="the ledger")
            everything = usage(sidecar, "?group_by=key")
            totals = everything["totals"]
            wait_until(lambda: server.number("sum(sidecar_key_requests_total)") == totals["requests"], within=SOON, what="the scrape")

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
            assert server.number(f'sidecar_key_requests_total{{key_id="{limited}",reason="rate_limit_exceeded"}} + 0') != 0
            by_outcome = {(group["by"],): group["totals"]["requests"] for group in usage(sidecar, "?group_by=outcome")["groups"]}
            assert server.query("sum by (outcome) (sidecar_key_requests_total) > 0") == by_outcome
            assert server.number("sum(sidecar_key_request_duration_seconds_count)") == totals["requests"]
            assert server.number('sum(sidecar_auth_failures_total{reason="invalid_api_key"})') == 1
            assert server.number("sum(sidecar_key_requests_total * on (key_id) group_left (name) sidecar_key_info)") == totals["requests"]
            # From before the first request on, so nothing of it is missing.
            wait_until(lambda: server.number("sum(increase(sidecar_key_requests_total[5m])) > bool 0") == 1, within=SOON)
            (target,) = server.targets()
            assert (target["health"], target["lastError"]) == ("up", "")
            assert server.number('scrape_samples_scraped{job="sidecar"} + 0') != 0
        for accept in ("text/plain", OPEN_METRICS):
            verdict = check_metrics(sidecar, accept)
            # promtool reads the text format only; it must at least have nothing to say about that.
            assert not verdict or accept == OPEN_METRICS


def chat(model: str, *, streaming: bool) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": model}},
        "options": {"streaming": streaming},
    }


def usage(sidecar: Sidecar, query: str = "") -> Any:
    return json.loads(sidecar.admin("GET", f"/usage{query}").body)
