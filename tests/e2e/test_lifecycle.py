"""The life of a key with every real part: rotation with proof, import, peppers, shadow mode, and who keeps failing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.keys.token import generate
from sidecar.store import names
from tests.support.embedded import opened
from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.sidecar import Answer, Sidecar, call, wait_until

SOON = 15.0
"""Seconds that a busy machine may take for what needs milliseconds."""


@pytest.fixture(scope="module")
def sidecar(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    directory = tmp_path_factory.mktemp("sidecar")
    with Sidecar(directory, hub.url, ACCESS_KEY, proxy__workers="2", keys__accept_imported="true") as sidecar:
        yield sidecar


def rotate(sidecar: Sidecar, key_id: str, grace: str, **headers: str) -> Answer:
    return sidecar.admin("POST", f"/keys/{key_id}/rotate", {"grace_period": grace}, **headers)


def secrets_of(sidecar: Sidecar, key_id: str) -> Any:
    return sidecar.admin("GET", f"/keys/{key_id}/secrets").json


# Rotation ---------------------------------------------------------------------------------------


def test_two_secrets_are_valid_during_the_grace_and_one_after_it(sidecar: Sidecar) -> None:
    key_id, old = sidecar.create_key(limits={"rpm": 1000})
    assert "deprecation" not in sidecar.ask(old).headers
    before = time.time()
    answer = rotate(sidecar, key_id, "4s")
    new = answer.json["secret"]
    assert answer.json["key"]["id"] == key_id
    assert answer.json["key"]["limits"]["rpm"] == 1000
    during = sidecar.ask(old)
    if time.time() < before + 3.5:
        assert during.status == 200
        assert before - 1 <= int(during.headers["deprecation"].removeprefix("@")) <= time.time()
        assert abs(parsedate_to_datetime(during.headers["sunset"]).timestamp() - (before + 4)) <= 2
    fresh = sidecar.ask(new)
    assert fresh.status == 200
    assert not {"deprecation", "sunset"} & set(fresh.headers)
    refused = wait_until(lambda: (found := sidecar.ask(old)).status == 401 and found, within=SOON)
    assert time.time() >= before + 4
    assert refused.code == "api_key_rotated"
    assert sidecar.ask(new).status == 200
    # Id and history have survived.
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") >= 4, within=SOON)
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, reason="api_key_rotated") >= 1, within=SOON)


def test_a_grace_of_nothing_ends_every_old_secret_at_once(sidecar: Sidecar) -> None:
    key_id, leaked = sidecar.create_key()
    old = rotate(sidecar, key_id, "24h").json["secret"]
    assert sidecar.ask(leaked).status == sidecar.ask(old).status == 200
    new = rotate(sidecar, key_id, "0s").json["secret"]
    wait_until(lambda: sidecar.ask(leaked).status == sidecar.ask(old).status == 401, within=SOON)
    assert sidecar.ask(leaked).code == sidecar.ask(old).code == "api_key_rotated"
    assert sidecar.ask(new).status == 200


def test_who_still_uses_the_old_secret(sidecar: Sidecar) -> None:
    key_id, old = sidecar.create_key()
    new = rotate(sidecar, key_id, "1h").json["secret"]
    assert secrets_of(sidecar, key_id)["safe_to_retire"]["reason"] == "The new secret has not been used yet."
    assert sidecar.ask(new, User_Agent="new-app/2").status == 200
    assert wait_until(lambda: (found := secrets_of(sidecar, key_id)["safe_to_retire"])["safe"] and found, within=SOON)
    for _ in range(3):
        assert sidecar.ask(old, User_Agent="old-app/1").status == 200

    def told() -> Any:
        found = secrets_of(sidecar, key_id)
        return found if [secret["requests"] for secret in found["data"]] == [1, 3] else None

    found = wait_until(told, within=SOON)
    assert [secret["state"] for secret in found["data"]] == ["current", "retiring"]
    assert [secret["agents"] for secret in found["data"]] == [["new-app/2"], ["old-app/1"]]
    assert found["data"][1]["last_used_at"] is not None
    assert found["data"][1]["networks"]
    assert not found["safe_to_retire"]["safe"]
    assert "old-app/1" in found["safe_to_retire"]["reason"]
    wait_until(lambda: sidecar.metric("sidecar_secret_requests_total", key_id=key_id, secret_state="retiring") == 3, within=SOON)


def test_create_and_rotate_are_safe_to_repeat(sidecar: Sidecar) -> None:
    created = [sidecar.admin("POST", "/keys", {"name": "once"}, Idempotency_Key="create-once") for _ in range(2)]
    assert [answer.status for answer in created] == [201, 200]
    assert created[0].json["key"]["id"] == created[1].json["key"]["id"]
    assert created[1].json["secret"] is None
    key_id, old = created[0].json["key"]["id"], created[0].json["secret"]
    rotated = [rotate(sidecar, key_id, "1h", Idempotency_Key="rotate-once") for _ in range(2)]
    assert [answer.status for answer in rotated] == [200, 200]
    assert rotated[1].json["secret"] is None
    assert len(rotated[1].json["key"]["secrets"]) == 2
    assert sidecar.ask(old).status == sidecar.ask(rotated[0].json["secret"]).status == 200
    assert sidecar.admin("POST", "/keys", {"name": "another"}, Idempotency_Key="create-once").code == "idempotency_conflict"


# Import, peppers, identification ----------------------------------------------------------------


def imported(sidecar: Sidecar, token: str) -> None:
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    assert sidecar.admin("POST", "/keys/import", {"name": "imported", "sha256": sha256}).status == 201


def valid(sidecar: Sidecar, token: str) -> bool:
    return bool(sidecar.admin("POST", "/keys/identify", {"token": token}).json["valid"])


def test_an_admin_token_opens_no_hub_even_if_somebody_imports_it(sidecar: Sidecar) -> None:
    token = (sidecar.data_dir / "admin-token").read_text().strip()
    imported(sidecar, token)
    assert sidecar.ask(token).code == "invalid_api_key"
    assert not valid(sidecar, token)


def test_an_imported_token_of_whatever_form_is_looked_up(sidecar: Sidecar) -> None:
    token = "blocklet-zThatTheHubOnceGaveToThisApplication"
    assert "access key of the hub" in sidecar.ask(token).body.decode()
    imported(sidecar, token)
    wait_until(lambda: sidecar.ask(token).status == 200, within=SOON)
    assert valid(sidecar, token)


def test_what_no_header_can_carry_opens_nothing_and_is_not_called_valid(sidecar: Sidecar) -> None:
    imported(sidecar, "to,ken1")
    assert sidecar.ask("to,ken1").code == "invalid_request"
    assert not valid(sidecar, "to,ken1")


def test_an_imported_token_is_kept_by_its_keyed_digest_after_its_first_use(sidecar: Sidecar) -> None:
    token = "sk-made-elsewhere-0123456789"
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    imported = sidecar.admin("POST", "/keys/import", {"name": "imported", "sha256": sha256, "hint": "sk-…6789"})
    assert imported.status == 201
    key_id = imported.json["key"]["id"]
    with opened(sidecar) as store:
        assert store.get(names.digest(sha256)) == key_id.encode()
        assert sidecar.ask(token).status == 200
        wait_until(lambda: not store.exists(names.digest(sha256)), within=SOON)
        assert sha256.encode() not in store.hget(names.key(key_id), "record")
    for _ in range(5):
        assert sidecar.ask(token).status == 200
    assert sidecar.admin("POST", "/keys/identify", {"token": token}).json["key"]["id"] == key_id
    wait_until(lambda: secrets_of(sidecar, key_id)["data"][0]["requests"] == 6, within=SOON)


def test_whose_key_is_this(sidecar: Sidecar) -> None:
    key_id, old = sidecar.create_key(name="leaky", owner="team-a")
    new = rotate(sidecar, key_id, "0s").json["secret"]

    def whose(token: str) -> Any:
        return sidecar.admin("POST", "/keys/identify", {"token": token})

    found = whose(new).json
    assert (found["key"]["id"], found["key"]["owner"], found["valid"]) == (key_id, "team-a", True)
    found = whose(old).json
    assert (found["key"]["id"], found["secret"]["state"], found["valid"]) == (key_id, "revoked", False)
    assert whose(generate("ahk")).status == 404
    sidecar.admin("POST", f"/keys/{key_id}/revoke")
    assert whose(new).json["valid"] is False


def test_a_pepper_follows_another_while_keys_are_in_use(hub: HubProcess, tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    with sidecar:
        used_id, used = sidecar.create_key(name="used")
        _, idle = sidecar.create_key(name="idle")
        rotated_id, retiring = sidecar.create_key(name="rotated")
        current = rotate(sidecar, rotated_id, "1h").json["secret"]
    pepper, previous = sidecar.data_dir / "pepper", sidecar.data_dir / "pepper.before"
    pepper.rename(previous)
    # Another pepper alone makes every key unknown; that is never told to a client as a 401.
    sidecar.start(wait=False)
    wait_until(lambda: call("GET", f"{sidecar.metrics_url}/livez").status == 200, within=30)
    wait_until(lambda: sidecar.ask(used).code == "key_store_unavailable", within=30)
    assert call("GET", f"{sidecar.metrics_url}/readyz").status == 503
    sidecar.stop()
    assert "another pepper" in sidecar.log.read_text()
    sidecar.environment["SIDECAR_KEYS__PREVIOUS_PEPPER_FILE"] = str(previous)
    with sidecar:
        assert [sidecar.ask(token).status for token in (used, retiring, current)] == [200, 200, 200]
        new_id, new = sidecar.create_key(name="new")
        assert sidecar.ask(new).status == 200
        current_pepper = pepper_ids(sidecar, new_id)
        wait_until(lambda: pepper_ids(sidecar, used_id) == pepper_ids(sidecar, rotated_id) == current_pepper, within=SOON)
        assert sidecar.admin("POST", "/keys/identify", {"token": idle}).json["key"]["name"] == "idle"
    del sidecar.environment["SIDECAR_KEYS__PREVIOUS_PEPPER_FILE"]
    with sidecar:
        assert [sidecar.ask(token).status for token in (used, retiring, current, new)] == [200, 200, 200, 200]
        assert sidecar.ask(idle).code == "invalid_api_key"


def pepper_ids(sidecar: Sidecar, key_id: str) -> set[str]:
    with opened(sidecar) as store:
        record = store.hget(names.key(key_id), "record").decode()
    return {part.split('"')[0] for part in record.split('"pepper_id":"')[1:]}


# Shadow -----------------------------------------------------------------------------------------


def shadowed(sidecar: Sidecar, key_id: str, reason: str) -> float:
    return sidecar.metric("sidecar_shadow_denied_total", key_id=key_id, reason=reason)


def test_shadow_lets_through_counts_and_tells_which_clients_would_break(hub: HubProcess, tmp_path: Path) -> None:
    (tmp_path / "sidecar.yaml").write_text("enforcement: shadow\n")
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    sidecar.environment["SIDECAR_CONFIG"] = str(tmp_path / "sidecar.yaml")
    with sidecar:
        fine, fine_secret = sidecar.create_key(name="fine")
        wrong, wrong_secret = sidecar.create_key(name="wrong-model", owner="team-b", allowed_models=["openai/gpt-5"])
        limited, limited_secret = sidecar.create_key(limits={"rpm": 2})
        strict, strict_secret = sidecar.create_key(enforcement="enforce", allowed_models=["openai/gpt-5"])
        dead, dead_secret = sidecar.create_key()
        sidecar.admin("POST", f"/keys/{dead}/revoke")
        wait_until(lambda: sidecar.admin("GET", f"/keys/{dead}").json["key"]["status"] == "revoked", within=SOON)
        assert sidecar.ask(fine_secret).status == 200
        assert {sidecar.ask(wrong_secret, User_Agent="legacy/1").status for _ in range(3)} == {200}
        assert {sidecar.ask(limited_secret).status for _ in range(5)} == {200}
        assert {sidecar.ask(dead_secret).status for _ in range(2)} == {200}
        assert sidecar.ask(strict_secret).code == "model_not_allowed"
        assert call("GET", f"{sidecar.url}/api/v2/status").status == 200
        assert call("GET", f"{sidecar.url}/api/v2/status", headers={"Authorization": "Bearer ahk_nobody"}).status == 200
        expected = {(wrong, "model_not_allowed"): 3, (limited, "rate_limit_exceeded"): 3, (dead, "api_key_revoked"): 2}
        wait_until(lambda: all(shadowed(sidecar, *denied) == times for denied, times in expected.items()), within=SOON)
        wait_until(lambda: shadowed(sidecar, "", "missing_api_key") == shadowed(sidecar, "", "invalid_api_key") == 1, within=SOON)
        assert (
            sidecar.metric("sidecar_shadow_denied_total", key_id=fine) == sidecar.metric("sidecar_shadow_denied_total", key_id=strict) == 0
        )

        def reported() -> dict[tuple[str, str], Any]:
            """What the report says of keys, once it is all there: the call log may come into the store after the metrics."""
            report = sidecar.admin("GET", "/shadow-report").json
            entries = {(entry["key_id"], entry["reason"]): entry for entry in report["data"] if entry["key_id"]}
            is_all = report["complete"] and {denied: entry["requests"] for denied, entry in entries.items()} == expected
            return entries if is_all else {}

        told = wait_until(reported, within=SOON, what="the report")[wrong, "model_not_allowed"]
        assert (told["name"], told["owner"], told["agents"], told["routes"]) == ("wrong-model", "team-b", ["legacy/1"], ["chat"])


def test_one_key_or_one_limit_in_shadow(sidecar: Sidecar) -> None:
    key_id, secret = sidecar.create_key(enforcement="shadow", allowed_routes=["embeddings"])
    assert sidecar.ask(secret).status == 200
    wait_until(lambda: shadowed(sidecar, key_id, "route_not_allowed") == 1, within=SOON)
    key_id, secret = sidecar.create_key(limits={"rpm": 1, "enforcement": {"rpm": "shadow"}}, allowed_models=["openai/gpt-5-mini"])
    assert [sidecar.ask(secret).status for _ in range(3)] == [200, 200, 200]
    wait_until(lambda: shadowed(sidecar, key_id, "rate_limit_exceeded") == 2, within=SOON)
    other = {"input": {"messages": [], "modelOptions": {"model": "openai/gpt-5"}}}
    assert sidecar.ask(secret, body=other).code == "model_not_allowed"


# Failures ---------------------------------------------------------------------------------------


def test_whoever_keeps_failing_is_slowed_down_on_both_planes(hub: HubProcess, tmp_path: Path) -> None:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY) as sidecar:
        _, secret = sidecar.create_key()

        def fail() -> Answer:
            return sidecar.ask("ahk_malformed", "/api/v2/status", method="GET")

        answers = [fail() for _ in range(121)]
        assert answers[0].code == "invalid_api_key"
        throttled = wait_until(lambda: (found := fail()).status == 429 and found, within=SOON)
        assert throttled.code == "too_many_failures"
        assert int(throttled.headers["retry-after"]) >= 1
        # Whoever shares the address and has a key is not locked out.
        assert sidecar.ask(secret).status == 200

        def fail_admin() -> Answer:
            return call("GET", f"{sidecar.admin_url}/admin/v1/keys", headers={"Authorization": "Bearer sat_wrong"})

        answers = [fail_admin() for _ in range(20)]
        assert {answer.code for answer in answers} == {"invalid_admin_token"}
        refused = wait_until(lambda: (found := fail_admin()).status == 429 and found, within=SOON)
        assert refused.code == "too_many_failures"
        wait_until(lambda: sidecar.metric("sidecar_auth_failures_total", reason="too_many_failures") >= 1, within=SOON)


def test_every_act_is_in_the_chain(sidecar: Sidecar) -> None:
    key_id, _ = sidecar.create_key(name="before")
    sidecar.admin("PATCH", f"/keys/{key_id}", {"name": "after"})
    rotate(sidecar, key_id, "1h")
    for act in ("disable", "enable", "revoke"):
        assert sidecar.admin("POST", f"/keys/{key_id}/{act}", {"reason": "test"}).status == 200
    events = sidecar.admin("GET", f"/audit-events?target={key_id}").json["data"]
    assert [event["action"].partition(".")[2] for event in events] == ["revoked", "enabled", "disabled", "rotated", "updated", "created"]
    changed = next(event for event in events if event["action"] == "api_key.updated")
    assert changed["changes"]["name"] == {"old": "before", "new": "after"}
    assert all(event["actor"]["id"] and event["request_id"] and event["source"] for event in events)
    verdict = sidecar.admin("GET", "/audit-events/verify").json["verdict"]
    assert verdict["ok"] and verdict["events"] >= 6
