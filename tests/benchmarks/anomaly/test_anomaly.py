"""A small run of the benchmark, so that it keeps working; its figures come from the whole one."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from benchmarks.anomaly import background, traffic
from benchmarks.anomaly.background import DAYS, HIGHEST_P95, WINDOWS_A_DAY
from benchmarks.anomaly.scenarios import SCENARIOS
from tests.support.source import ROOT


def _file(path: Path, clients: list[background.Client]) -> Path:
    """Clients in the form of the published file."""
    lines = ["client,kind," + ",".join(str(600 * window) for window in range(len(clients[0].rate)))]
    for client in clients:
        for kind, values in (("rate", client.rate), ("cv", np.sqrt(client.dispersion))):
            lines.append(f"{client.name},{kind}," + ",".join(f"{value:.5g}" for value in values))
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_a_small_run_scores_every_scenario_and_draws_it(tmp_path: Path) -> None:
    file = _file(tmp_path / "rates.csv.gz", background.generate(24, 3))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.anomaly", f"--background={file}", "--seeds=2", "--json", f"--svg={tmp_path / 'a.svg'}"],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert [row["code"] for row in told["scenarios"]] == [scenario.code for scenario in SCENARIOS]
    assert told["background"]["key_days"] == 12 * DAYS
    assert told["precision"] > 0.5
    assert ElementTree.fromstring((tmp_path / "a.svg").read_text()).tag.endswith("svg")


def test_generated_clients_are_thinned_like_published_ones() -> None:
    for client in background.generate(10, 1):
        assert len(client.rate) == DAYS * WINDOWS_A_DAY
        assert np.percentile(client.rate[client.rate > 0], 95) <= HIGHEST_P95 + 1e-9
        assert client.dispersion.min() >= 1
        assert client.dispersion.max() <= 16


def test_counts_have_the_mean_and_scatter_that_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    for dispersion in (1.0, 4.0, 16.0):
        counts = traffic.over_dispersed(np.full(100_000, 20.0), np.full(100_000, dispersion), rng)
        assert abs(counts.mean() - 20) < 0.5
        assert abs(counts.var() / counts.mean() - dispersion) < 0.1 * dispersion


def test_the_same_seed_is_the_same_traffic() -> None:
    (client,) = background.generate(1, 5)

    def play() -> list[object]:
        rng = np.random.default_rng(9)
        history = traffic.ordinary(traffic.make_key("k", client, rng), rng)
        return list(traffic.seconds("k", history.between(0, 8640), 0))

    assert play() == play()
