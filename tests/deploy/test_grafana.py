"""The dashboards that are shipped: current, well-formed, and full when a live sidecar is behind them."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from deploy.grafana import generate
from sidecar.control.metrics.catalogue import CATALOGUE, Family
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.prometheus import Prometheus, prometheus
from tests.support.sidecar import Sidecar, wait_until
from tests.support.source import ROOT

FOLDER = ROOT / "deploy/grafana/dashboards"
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
FAMILIES: dict[str, Family] = {family.name: family for family in CATALOGUE}
RECORDED = {
    rule["record"] for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"] if "record" in rule
}
FOREIGN = {"ALERTS", "scrape_duration_seconds", "process_resident_memory_bytes"}
"""What Prometheus itself and the client library's process collector provide."""
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count"), "counter": (), "gauge": ()}

EMPTY_BY_NATURE = {
    "last_over_time(key:sidecar_requests:rate1h_max7d": "the busiest hour is known when the first hour is over",
    "last_over_time(key:sidecar_tokens:rate1h_max7d": "the busiest hour is known when the first hour is over",
    "sidecar_metering_unreconciled_calls": "nobody has asked for the hub's ledger to be read",
    "sidecar_metering_given_up_total": "nobody has asked for the hub's ledger to be read",
    "sidecar_metering_ledger_up": "nobody has asked for the hub's ledger to be read",
    "sidecar_metering_drift_tokens": "nobody has asked for the hub's ledger to be read",
    'sidecar_shadow_denied_total{key_id="$key_id"}': "the key that is looked at is not in shadow mode",
    'count(ALERTS{alertname="ApiKeyCompromiseLikely"': "no key is stolen here; tests/e2e/test_attack.py steals one",
}


def _panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def _targets() -> list[tuple[str, str, str]]:
    return [
        (name, panel["title"], target["expr"]) for name, board in BOARDS.items() for panel in _panels(board) for target in panel["targets"]
    ]


def _filled(expression: str, key_id: str = "key_0123456789abcdef") -> str:
    for name, value in (("$__rate_interval", "1m"), ("$__range", "5m"), ("$instance", ".*"), ("$key_id", key_id)):
        expression = expression.replace(name, value)
    return expression


def _variables(board: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = board["templating"]["list"]
    return found


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (part := getattr(node, name, None)) is not None:
            yield from _walk(part)
    for part in getattr(node, "args", None) or ():
        yield from _walk(part)


def _family(name: str) -> tuple[Family, str] | None:
    """The family of a sample's name, and the part of the name that is behind the family's."""
    for suffix in ("", "_bucket", "_sum", "_count"):
        family = FAMILIES.get(name.removesuffix(suffix))
        if name.endswith(suffix) and family is not None and (not suffix or suffix in SUFFIXES[family.kind]):
            return family, suffix
    return None


def test_the_files_are_what_the_code_makes() -> None:
    assert generate.stale() == [], "run `make docs`"


def test_there_are_four() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {"sidecar-fleet", "sidecar-key", "sidecar-security", "sidecar-health"}


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_well_formed(name: str) -> None:
    board = BOARDS[name]
    assert board["title"] and board["description"] and board["tags"] == ["hub-auth-sidecar"]
    assert _variables(board)[0] | {"name": "datasource", "type": "datasource", "query": "prometheus"} == _variables(board)[0]
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)) and all(numbers)
    titles = [panel["title"] for panel in board["panels"]]
    assert len(titles) == len(set(titles))
    for panel in _panels(board):
        assert panel["title"] and panel["description"].endswith((".", "?")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} == {"${datasource}"}
        names = [target["refId"] for target in panel["targets"]]
        assert names and len(names) == len(set(names)) and all(names)
        if panel["type"] == "timeseries":
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_no_panel_covers_another(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.parametrize(("board", "title", "expression"), _targets())
def test_an_expression_asks_for_what_there_is_and_as_it_should(board: str, title: str, expression: str) -> None:
    used = set(re.findall(r"\$\{?(\w+)", expression)) - {"__rate_interval", "__range"}
    assert used <= {variable["name"] for variable in _variables(BOARDS[board])}
    nodes = list(_walk(promql_parser.parse(_filled(expression))))
    rates = [node for node in nodes if isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase")]
    rated = {node.args[0].vector_selector.name for node in rates}
    for node in nodes:
        if not isinstance(node, promql_parser.VectorSelector):
            continue
        if node.name in FOREIGN | RECORDED:
            assert node.name not in rated
            continue
        found = _family(node.name)
        assert found is not None, f"{node.name} is in no /metrics and no rule"
        family, suffix = found
        counts = family.kind == "counter" or suffix != ""
        assert counts is (node.name in rated), f"{node.name} is a {family.kind}"
        known = {*family.labels, "instance", "job", *(["le"] if suffix == "_bucket" else [])}
        assert {matcher.name for matcher in node.matchers.matchers} <= known


def test_every_family_is_shown_somewhere() -> None:
    shown = {name for _, _, expression in _targets() for name in re.findall(r"sidecar_\w+", expression)}
    shown |= {name.removesuffix(suffix) for name in shown for suffix in ("_bucket", "_sum", "_count")}
    assert set(FAMILIES) - shown == set()


def test_every_alert_that_calls_somebody_is_counted() -> None:
    (count,) = [expression for _, title, expression in _targets() if title == "Alerts"]
    counted = {name: re.compile(pattern) for name, pattern in re.findall(r'(alertname|severity)=~"([^"]+)"', count)}
    rules = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(rules) > 20
    for rule in rules:
        assert counted["alertname"].fullmatch(rule["alert"]), rule["alert"]
        assert bool(counted["severity"].fullmatch(rule["labels"]["severity"])) is (rule["labels"]["severity"] != "info"), rule["alert"]


def _strict(expression: str) -> str:
    """Without the zero that stands for nothing, so that nothing is seen."""
    return expression.replace(" or vector(0)", "")


class Players:
    """Applications that go on doing a little of all that a dashboard can show, until they are closed."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
        self.key_id, self._dead = sidecar.create_key(name='odd "name" ☃', owner="team", expires_at=soon)
        self._retiring = self._rotate("0s")
        self._secret = self._rotate("1h")
        self._shadow = sidecar.create_key(name="shadow", allowed_models=["none"], enforcement="shadow")[1]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _rotate(self, grace: str) -> str:
        answer = self._sidecar.admin("POST", f"/keys/{self.key_id}/rotate", {"grace_period": grace})
        assert answer.status == 200, answer.body
        return str(answer.json["secret"])

    def _play(self) -> None:
        while not self._closing.wait(0.5):
            self._turn(self._sidecar)

    def _turn(self, sidecar: Sidecar) -> None:
        messages = [{"role": "user", "content": "Hi"}]
        for model in ("openai/gpt-5-mini", "demo/error"):
            sidecar.ask(
                self._secret, body={"input": {"messages": messages, "modelOptions": {"model": model}}, "options": {"streaming": True}}
            )
        # The hub says nothing of what this used.
        sidecar.ask(self._secret, "/api/v2/chat/completions", {"model": "openai/gpt-5-mini", "messages": messages})
        sidecar.ask(self._secret, "/api/user/info", method="GET")
        for secret in (self._retiring, self._dead, self._shadow, "ahk_nobody"):
            sidecar.ask(secret)
        short_lived, _ = sidecar.create_key(name="short-lived")
        sidecar.admin("POST", f"/keys/{short_lived}/revoke")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, str]]:
    """A Prometheus that sees a sidecar at work, and the key that is used most."""
    folder = tmp_path_factory.mktemp("grafana")
    with (
        hub_process() as hub,
        Sidecar(folder, hub.url, ACCESS_KEY, log__access="true") as sidecar,
        prometheus(folder, sidecar.metrics_url.removeprefix("http://"), RULES) as server,
    ):
        wait_until(lambda: server.number("sum(sidecar_ready)") == 1, within=60, what="the first scrape")
        players = Players(sidecar)
        try:
            yield server, players.key_id
        finally:
            players.close()


def test_every_expression_has_something_to_show(live: tuple[Prometheus, str]) -> None:
    server, key_id = live
    wanted = {_strict(_filled(expression, key_id)): f"{board}: {title}: {expression}" for board, title, expression in _targets()}
    waiting = {query: what for query, what in wanted.items() if not any(part in what for part in EMPTY_BY_NATURE)}

    def all_shown() -> bool:
        for query in list(waiting):
            if any(series["value"][1] != "NaN" for series in server.ask(query)):
                del waiting[query]
        return not waiting

    try:
        wait_until(all_shown, within=90, what="a value of every expression")
    except AssertionError:
        assert list(waiting.values()) == []
    for query, what in wanted.items():
        if any(part in what for part in EMPTY_BY_NATURE):
            assert server.ask(query) == [], f"not empty any more, so it need not be excused: {what}"


def test_a_key_without_a_name_on_metrics_is_shown_too(live: tuple[Prometheus, str]) -> None:
    """Where metrics.key_info is off, tables have the rows all the same."""
    server, key_id = live
    for _, title, expression in _targets():
        if "sidecar_key_info" in expression:
            with_names = _filled(expression, key_id)
            without = with_names.replace("sidecar_key_info", "sidecar_key_info_off")
            # New keys come in between the two questions.
            wait_until(lambda: _keys(server, with_names) == _keys(server, without), what=title)  # noqa: B023


def _keys(server: Prometheus, expression: str) -> set[str]:
    return {series["metric"]["key_id"] for series in server.ask(expression)}


def test_variables_offer_keys_by_name_and_instances(live: tuple[Prometheus, str]) -> None:
    server, key_id = live
    offered: dict[str, list[tuple[str, str]]] = {}
    for board in BOARDS.values():
        for variable in _variables(board):
            if variable["type"] == "query":
                offered[variable["name"]] = _offered(server, variable)
    assert (key_id, 'odd "name" ☃') in offered["key_id"]
    assert len(offered["instance"]) == 1


def _offered(server: Prometheus, variable: dict[str, Any]) -> list[tuple[str, str]]:
    """Value and text of what a variable offers, made from the series as Grafana makes them."""
    query = variable["query"]
    if label := re.fullmatch(r"label_values\((\w+), (\w+)\)", query):
        return [(series["metric"][label[2]],) * 2 for series in server.ask(label[1])]
    asked = re.fullmatch(r"query_result\((.+)\)", query)
    assert asked is not None
    pattern = variable["regex"].strip("/").replace("(?<", "(?P<")
    offered = []
    for series in server.ask(asked[1]):
        labels = ",".join(f'{name}="{value}"' for name, value in series["metric"].items() if name != "__name__")
        line = f"{series['metric'].get('__name__', '')}{{{labels}}} {series['value'][1]}"
        found = re.search(pattern, line)
        assert found is not None, line
        offered.append((found["value"], found["text"]))
    return offered
