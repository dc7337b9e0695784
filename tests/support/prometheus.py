"""A Prometheus of a test: it scrapes what it is given each second, evaluates rules, and is asked in PromQL."""

from __future__ import annotations

import subprocess
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.ports import free_port
from tests.support.sidecar import call, wait_until
from tests.support.tools import require

HINT = "apt-get install prometheus"


class Prometheus:
    """A running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant vector as the API gives them; an expression that is refused fails the test."""
        answer = call("GET", f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=60)
        assert answer.status == 200, f"{expression}: {answer.body.decode()}"
        result: list[dict[str, Any]] = answer.json["data"]["result"]
        return result

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """The values of an instant vector by its labels' values."""
        return {tuple(series["metric"].values()): float(series["value"][1]) for series in self.ask(expression)}

    def number(self, expression: str) -> float:
        """The value of a vector of one element without labels; -1 when it is empty."""
        return self.query(expression).get((), -1.0)

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = call("GET", f"{self.url}/api/v1/targets").json["data"]["activeTargets"]
        return found


@contextmanager
def prometheus(directory: Path, target: str, rules: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """Prometheus with `target` as its only one, scraped each second; `rules` are evaluated as often."""
    program = require("prometheus", install=HINT)
    copies = [directory / f"rules-{rule.name}" for rule in rules]
    for rule, copy in zip(rules, copies, strict=True):
        document = yaml.safe_load(rule.read_text())
        for group in document["groups"]:
            # A test cannot wait for the usual intervals of minutes.
            group.pop("interval", None)
        copy.write_text(yaml.safe_dump(document))
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"},
        "rule_files": [str(copy) for copy in copies],
        "scrape_configs": [{"job_name": "sidecar", "static_configs": [{"targets": [target]}]}],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program, f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={url.removeprefix('http://')}", "--log.level=warn",
    ]  # fmt: skip
    with (directory / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            server = Prometheus(url)
            wait_until(lambda: call("GET", f"{url}/-/ready").status == 200, within=60, what="Prometheus")
            yield server
        finally:
            process.terminate()
            process.wait(30)
