"""The rules and routes that are shipped: checked by their own tools, and against the program that they speak of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from sidecar.control.admin.messages.common import Name, Owner
from sidecar.control.anomaly.detectors.signals import TABLE
from sidecar.control.metrics.catalogue import CATALOGUE
from sidecar.settings.declaration import Metrics
from tests.control.metrics.test_scrape import NOW, Page
from tests.control.support.events import key_id, request
from tests.support.documents import blocks
from tests.support.source import ROOT
from tests.support.tools import require

RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
RULE_TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
ALERTMANAGER = ROOT / "deploy/alertmanager/alertmanager.yml"
PROMETHEUS, AMTOOL = "apt-get install prometheus", "apt-get install prometheus-alertmanager"


def _rules() -> list[dict[str, Any]]:
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def _alerts() -> list[dict[str, Any]]:
    return [rule for rule in _rules() if "alert" in rule]


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    _run(require("promtool", install=PROMETHEUS), "check", "rules", *RULES)


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_promtool_runs_the_rules(file: Path) -> None:
    _run(require("promtool", install=PROMETHEUS), "test", "rules", file)


def test_every_alert_is_played_by_a_rule_test() -> None:
    fired = {
        alert["alertname"]
        for file in RULE_TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for alert in test.get("alert_rule_test", ())
        if alert["exp_alerts"]
    }
    assert fired == {alert["alert"] for alert in _alerts()}


@pytest.mark.parametrize("alert", _alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description", "runbook_url"} == set(alert["annotations"])
    page = ROOT / alert["annotations"]["runbook_url"]
    assert page.read_text().startswith(f"# {alert['alert']}\n")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", alert["alert"]).lower()
    assert page.stem == words


def test_rules_ask_only_for_series_that_exist() -> None:
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    families = {family.name for family in CATALOGUE}
    exported = families | {f"{family.name}{suffix}" for family in CATALOGUE for suffix in ("_bucket", "_sum", "_count")}
    for rule in _rules():
        for name in re.findall(r"\b(?:[a-z_]+:)?sidecar_[a-z0-9_]+(?::[a-z0-9_]+)?", rule["expr"]):
            assert name in exported | recorded, f"{name} in {rule.get('alert', rule.get('record'))}"


def _matches(expression: str, after: str) -> set[str]:
    found = re.search(after + r'"([^"]+)"', expression)
    assert found is not None
    return set(found[1].split("|"))


def test_kinds_and_anchors_are_those_of_the_detection() -> None:
    kinds: dict[str, set[str]] = {}
    for signal in TABLE:
        if signal.kind != "source":
            kinds.setdefault(signal.kind, set()).add(signal.name)
    shared = {kind: names for kind, names in kinds.items() if len(names) > 1}
    (recording,) = [rule["expr"] for rule in _rules() if rule.get("record") == "key_kind:sidecar_signal_weight:max"]
    assert {kind: _matches(recording, f'"kind", "{kind}", "signal", ') for kind in shared} == shared
    (likely,) = [rule["expr"] for rule in _rules() if rule.get("alert") == "ApiKeyCompromiseLikely"]
    assert _matches(likely, "signal=~") == {signal.name for signal in TABLE if signal.anchor and signal.kind != "source"}


def _scrape_config() -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (sidecar,) = [job for job in config["scrape_configs"] if job["job_name"] == "sidecar"]
    return dict(sidecar)


def test_operators_are_told_the_name_of_the_job() -> None:
    """What asks for it finds nothing in a Prometheus that calls it otherwise, and one alert never goes."""
    asked = {job for rule in _rules() for job in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert asked == {_scrape_config()["job_name"]}
    assert f'`job="{asked.pop()}"`' in (ROOT / "docs" / "operations.md").read_text()


def test_the_page_turns_paths_of_runbooks_into_addresses(tmp_path: Path) -> None:
    (program,) = [block.text for block in blocks(ROOT / "docs" / "operations.md") if "runbook_url" in block.text]
    for file in RULES:
        (tmp_path / file.name).write_text(file.read_text())
    _run("bash", "-c", program.replace("/etc/prometheus/rules", str(tmp_path)))
    for file in RULES:
        groups = yaml.safe_load((tmp_path / file.name).read_text())["groups"]
        addresses = [rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule]
        assert addresses and all(re.fullmatch(r"https://[^ ]+/docs/runbooks/[a-z-]+\.md", address) for address in addresses)


def test_no_name_of_a_key_is_too_long_for_a_scrape() -> None:
    limit = _scrape_config()["label_value_length_limit"]
    for text in (Name, Owner):
        (meta,) = get_args(text)[1:]
        assert meta.max_length * len("\N{GRINNING FACE}".encode()) <= limit


def test_a_scrape_has_room_for_keys_that_have_seen_every_way_to_fail() -> None:
    page = Page()
    page.key(1, owner="team", expires_at=NOW)
    reasons = {("client_error", "4xx"), ("client_closed", ""), ("hub_error", "hub_unavailable"), ("hub_error", "hub_timeout")}
    reasons |= {("sidecar_error", "key_store_unavailable"), ("denied", "api_key_expired"), ("denied", "api_key_disabled")}
    for outcome, reason in reasons:
        page.feed(request(key_id(1), time=NOW, outcome=outcome, reason=reason))
    for secret in ("current", "retiring", "revoked"):
        page.feed(request(key_id(1), time=NOW, secret_state=secret, shadow="rate_limit_exceeded"))
    of_key = _series(page, 1)
    assert of_key > 35
    assert _scrape_config()["sample_limit"] >= (of_key + 10) * Metrics().max_keys
    page.key(2, owner="team")
    page.key(3, owner="team", expires_at=NOW)
    new = _series(page, 2)
    assert _series(page, 3) == new + 1
    assert [(low, of_key <= high <= of_key + 10) for low, high in _told()] == [(new, True)] * 2


def _series(page: Page, number: int) -> int:
    return sum(dict(labels).get("key_id") == key_id(number) for _, labels in page.samples())


def _told() -> list[tuple[int, int]]:
    """How many series a key is said to have: when it is new, and when it has seen every way to fail."""
    sentences = {
        "deploy/prometheus/prometheus.yml": r"about (\d+) series when it is new and up to (\d+) ",
        "docs/runbooks/sidecar-metrics-overflow.md": r": (\d+) to (\d+) samples for each key",
    }
    return [(int(low), int(high)) for file, form in sentences.items() for low, high in re.findall(form, (ROOT / file).read_text())]


def test_what_has_no_instance_silences_nothing() -> None:
    """`equal` holds too where both lack the label: an absent sidecar would silence every alert of keys."""
    rules = yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]
    by_instance = [rule for rule in rules if "instance" in rule["equal"]]
    assert by_instance and all('instance =~ ".+"' in rule["source_matchers"] for rule in by_instance)
    assert [rule for rule in rules if rule not in by_instance] == [rule for rule in rules if rule["equal"] == ["key_id"]]


def test_amtool_accepts_the_routes() -> None:
    _run(require("amtool", install=AMTOOL), "check-config", ALERTMANAGER)


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "pager"), ("warning", "operators"), ("info", "nobody")])
def test_alerts_go_where_they_belong(severity: str, receiver: str) -> None:
    routed = _run(
        require("amtool", install=AMTOOL),
        "config",
        "routes",
        "test",
        f"--config.file={ALERTMANAGER}",
        f"severity={severity}",
        "key_id=key_1",
    )
    assert routed.split() == [receiver]
