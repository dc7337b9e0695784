"""Many replicas on one store are one system, whichever is asked."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.e2e.test_revocation import open_stream, read_to_the_end
from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.store import Server

HUB_OPTIONS = ("--delay", "0.2")


@pytest.fixture(scope="module")
def replicas(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sidecar, Sidecar]]:
    directory: Path = tmp_path_factory.mktemp("replicas")
    store = Server(directory / "valkey", tcp=True)
    store.start()
    pepper = str(directory / "pepper")
    try:
        homes = [directory / "one", directory / "two"]
        for home in homes:
            home.mkdir()
        one, two = (Sidecar(home, hub.url, ACCESS_KEY, store__url=store.url, keys__pepper_file=pepper) for home in homes)
        with one, two:
            yield one, two
    finally:
        store.close()


def test_a_key_of_one_replica_is_a_key_of_all(replicas: tuple[Sidecar, Sidecar]) -> None:
    one, two = replicas
    key_id, secret = two.create_key(name="made on two")
    assert one.ask(secret).status == two.ask(secret).status == 200

    def is_the_same() -> bool:
        seen, other = (each.admin("GET", f"/keys/{key_id}").json["key"] for each in replicas)
        return bool(seen == other)

    # Each brings what it saw of its use into the store in its own time.
    wait_until(is_the_same)


def test_limits_and_quotas_count_over_all(replicas: tuple[Sidecar, Sidecar]) -> None:
    _, rated = replicas[0].create_key(limits={"rpm": 10})
    _, spent = replicas[0].create_key(quota={"requests": 7, "period": "day"})
    with ThreadPoolExecutor(6) as pool:
        for secret, most in ((rated, 10), (spent, 7)):
            statuses = list(pool.map(lambda number, secret=secret: replicas[number % 2].ask(secret).status, range(24)))
            assert sorted(statuses) == [200] * most + [429] * (24 - most)


def test_places_are_shared(replicas: tuple[Sidecar, Sidecar]) -> None:
    one, two = replicas
    _, secret = one.create_key(limits={"max_concurrency": 1})
    stream = open_stream(one, secret, seconds=8)
    assert two.ask(secret).code == "rate_limit_exceeded"
    read_to_the_end(stream)
    wait_until(lambda: two.ask(secret).status == 200)


def test_a_key_revoked_on_one_is_dead_on_all_and_its_streams_are_cut(replicas: tuple[Sidecar, Sidecar]) -> None:
    one, two = replicas
    key_id, secret = one.create_key()
    stream = open_stream(two, secret)
    assert one.admin("POST", f"/keys/{key_id}/revoke").status == 200
    wait_until(lambda: two.ask(secret).status == 401, within=2, what="the revocation on the other replica")
    assert not read_to_the_end(stream).endswith(b"0\r\n\r\n")


def test_use_and_calls_of_all_show_on_each(replicas: tuple[Sidecar, Sidecar]) -> None:
    key_id, secret = replicas[0].create_key()
    for number in range(10):
        assert replicas[number % 2].ask(secret).status == 200
    for replica in replicas:
        wait_until(lambda: replica.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"] == 10)  # noqa: B023
        calls = replica.admin("GET", f"/requests?key={key_id}&limit=100").json["data"]
        assert len({one["request_id"] for one in calls}) == 10
        wait_until(lambda: replica.admin("GET", f"/keys/{key_id}").json["key"]["last_used_at"])  # noqa: B023
        # Each counts its own for Prometheus, which adds them up.
        wait_until(lambda: replica.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == 5)  # noqa: B023


def test_a_session_holds_on_all_and_ends_on_all(replicas: tuple[Sidecar, Sidecar]) -> None:
    one, two = replicas
    name, value = sign_in(one)
    on_two = {"Cookie": f"{name.rpartition('-')[0]}-{two.admin_url.rpartition(':')[2]}={value}"}
    assert call("GET", f"{two.admin_url}/admin/v1/keys", headers=on_two).status == 200
    assert call("GET", f"{two.admin_url}/admin/v1/keys", headers={"Cookie": f"{name}=nonsense"}).status == 401


def test_admin_tokens_and_audit_are_shared(replicas: tuple[Sidecar, Sidecar]) -> None:
    one, two = replicas
    answer = one.admin("POST", "/admin-tokens", {"name": "for both", "role": "viewer"})
    assert answer.status == 201, answer.body
    token = {"Authorization": f"Bearer {answer.json['token']}"}
    assert call("GET", f"{two.admin_url}/admin/v1/keys", headers=token).status == 200
    actions = [event["action"] for event in two.admin("GET", "/audit-events?limit=5").json["data"]]
    assert any("token" in action for action in actions)


def test_replicas_change_keys_at_once_without_losing_a_change(replicas: tuple[Sidecar, Sidecar]) -> None:
    key_id, _ = replicas[0].create_key(metadata={})
    done = threading.Barrier(2)

    def change(number: int) -> int:
        done.wait(30)
        return replicas[number].admin("POST", f"/keys/{key_id}/rotate", {"grace_period": "1h"}).status

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(change, range(2)))
    key = replicas[0].admin("GET", f"/keys/{key_id}").json["key"]
    assert set(statuses) <= {200, 409} and 200 in statuses
    assert key["revision"] == 1 + statuses.count(200)


def test_one_replica_detects_for_all(replicas: tuple[Sidecar, Sidecar], hub: HubProcess) -> None:
    """A guess at many keys, spread over both, is one episode, told once and shown by both."""
    for number in range(120):
        replicas[number % 2].ask(f"ahk_guess{number}")

    def found(replica: Sidecar) -> list[dict[str, object]]:
        return [anomaly for anomaly in replica.admin("GET", "/anomalies").json["data"] if anomaly["subject"] == "source"]

    def shown() -> list[list[dict[str, object]]]:
        # The guesses go on counting for a moment after the episode has begun.
        seen, other = (found(replica) for replica in replicas)
        return [seen] if seen and seen == other else []

    (anomalies,) = wait_until(shown, what="the anomaly on both")
    assert len(anomalies) == 1


def sign_in(sidecar: Sidecar) -> tuple[str, str]:
    """Sign in to the console with the admin token; the name and value of the session's cookie."""
    connection = HTTPConnection(sidecar.admin_url.removeprefix("http://"), timeout=10)
    form = urllib.parse.urlencode({"token": sidecar.admin_token})
    fields = {"Content-Type": "application/x-www-form-urlencoded", "Origin": sidecar.admin_url, "Sec-Fetch-Site": "same-origin"}
    connection.request("POST", "/sign-in", form, fields)
    answer = connection.getresponse()
    cookie = next(value for name, value in answer.getheaders() if name.lower() == "set-cookie" and "session" in value)
    connection.close()
    name, _, value = cookie.partition(";")[0].partition("=")
    return name, value
