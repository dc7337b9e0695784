"""The life of a key through the API, on a real store."""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from tests.control.admin.conftest import Api, serve

MEMBERS = {
    "id", "name", "owner", "status", "hint", "created_at", "expires_at", "last_used_at", "allowed_routes", "allowed_models", "allowed_ips",
    "limits", "quota", "enforcement", "on_anomaly", "metadata", "tags", "secrets", "revision",
}  # fmt: skip


async def test_create_shows_the_secret_once(api: Api) -> None:
    status, body, response = await api.call("POST", "/admin/v1/keys", {"name": "app"})
    assert status == 201
    key, secret = body["key"], body["secret"]
    assert set(key) == MEMBERS
    assert secret.startswith("ahk_")
    assert key["hint"] == f"ahk_…{secret[-4:]}"
    assert (key["status"], key["revision"], key["expires_at"], key["last_used_at"]) == ("active", 1, None, None)
    assert (key["allowed_routes"], key["limits"]) == (None, {"rpm": None, "tpm": None, "max_concurrency": None})
    assert set(key["secrets"][0]) == {"id", "state", "created_at", "expires_at", "last_used_at"}
    assert key["created_at"].endswith("Z")
    assert response.headers["Location"] == f"/admin/v1/keys/{key['id']}"
    status, body, response = await api.call("GET", f"/admin/v1/keys/{key['id']}")
    assert (status, body) == (200, {"key": key})
    assert response.headers["ETag"] == '"1"'
    found = await api.services.keys.identify(secret.encode())
    assert found is not None
    assert found.key.id == key["id"]


async def test_every_member_comes_back(api: Api) -> None:
    members: dict[str, Any] = {
        "owner": "team",
        "expires_at": "2099-01-01T00:00:00Z",
        "allowed_routes": ["chat"],
        "allowed_models": ["gpt-4o"],
        "allowed_ips": ["10.0.0.0/8", "2001:db8::1"],
        "limits": {"rpm": 600, "tpm": 1000, "max_concurrency": 5, "enforcement": {"tpm": "shadow"}},
        "quota": {"requests": 10, "tokens": None, "period": "day", "timezone": "Europe/Berlin"},
        "enforcement": "shadow",
        "on_anomaly": "notify",
        "metadata": {"env": "prod"},
        "tags": ["a"],
    }
    key, _ = await api.key(**members)
    assert {name: key[name] for name in members} == members


async def test_status_is_that_of_now(api: Api) -> None:
    key, _ = await api.key(expires_at="2030-01-01T00:00:00+02:00")
    assert key["expires_at"] == "2029-12-31T22:00:00Z"
    api.clock.offset = 10 * 365 * 86400.0
    _, body, _ = await api.call("GET", f"/admin/v1/keys/{key['id']}")
    assert body["key"]["status"] == "expired"


async def test_change_touches_only_what_is_given(api: Api) -> None:
    key, _ = await api.key(owner="a", limits={"rpm": 5, "tpm": 6}, tags=["x"])
    path = f"/admin/v1/keys/{key['id']}"
    status, body, _ = await api.call("PATCH", path, {"limits": {"rpm": None}, "owner": None, "quota": {"tokens": 9}})
    assert status == 200
    changed = body["key"]
    assert changed["limits"] == {"rpm": None, "tpm": 6, "max_concurrency": None}
    assert (changed["owner"], changed["tags"], changed["revision"]) == ("", ["x"], 2)
    assert changed["quota"] == {"requests": None, "tokens": 9, "period": "month", "timezone": "UTC"}
    _, body, _ = await api.call("PATCH", path, {})
    assert body["key"]["revision"] == 2


@pytest.mark.parametrize("condition", ['"1"', "1", "body"])
async def test_a_lost_update_is_a_conflict(api: Api, condition: str) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    by_body, headers = ({"revision": 1}, {}) if condition == "body" else ({}, {"If-Match": condition})
    assert (await api.call("PATCH", path, {"owner": "a", **by_body}, headers=headers))[0] == 200
    status, body, _ = await api.call("PATCH", path, {"owner": "b", **by_body}, headers=headers)
    assert (status, body["error"]["code"], body["error"]["param"]) == (409, "conflict", "revision")
    assert (await api.call("PATCH", path, {}, headers={"If-Match": "W/1"}))[0] == 400


@pytest.mark.parametrize("revision", [0, -1, 2, 10**16])
async def test_a_revision_that_the_key_does_not_have_is_a_conflict(api: Api, revision: int) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    for body, headers in (({"revision": revision}, {}), ({}, {"If-Match": str(revision)}), ({}, {"If-Match": f'W/"{revision}"'})):
        assert (await api.call("PATCH", path, {"owner": "a", **body}, headers=headers))[0] == 409
    assert (await api.call("GET", path))[1]["key"]["owner"] == ""
    assert (await api.call("PATCH", path, {"owner": "a"}, headers={"If-Match": 'W/"1"'}))[0] == 200


async def test_two_revisions_cannot_both_be_that_of_the_key(api: Api) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    for body, header in ((1, "2"), (2, "1")):
        status, answer, _ = await api.call("PATCH", path, {"owner": "a", "revision": body}, headers={"If-Match": header})
        assert (status, answer["error"]["code"], answer["error"]["param"]) == (409, "conflict", "revision")
    assert (await api.call("PATCH", path, {"owner": "a", "revision": 1}, headers={"If-Match": "1"}))[0] == 200


@pytest.mark.parametrize(("act", "body"), [("rotate", {"grace_period": "1h"}), ("revoke", {})])
async def test_a_change_by_somebody_else_meanwhile_is_not_put_down_to_an_act(
    api: Api, act: str, body: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = await api.key()
    plain = getattr(api.services.keys, act)

    async def later(key_id: str, *args: Any, **kwargs: Any) -> Any:
        await api.call("PATCH", f"/admin/v1/keys/{key_id}", {"owner": "theirs"})
        return await plain(key_id, *args, **kwargs)

    monkeypatch.setattr(api.services.keys, act, later)
    assert (await api.call("POST", f"/admin/v1/keys/{key['id']}/{act}", body))[0] == 200
    last, theirs = (await api.events(f"target={key['id']}"))[:2]
    assert set(last["changes"]) == {"secrets" if act == "rotate" else "revoked_at"}
    assert set(theirs["changes"]) == {"owner"}


async def test_revoke_is_final(api: Api) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    status, body, _ = await api.call("POST", f"{path}/revoke", {"reason": "leaked"})
    assert (status, body["key"]["status"], body["durable"]) == (200, "revoked", True)
    for method, action, sent in (("POST", "/enable", {}), ("POST", "/disable", {}), ("POST", "/rotate", {}), ("PATCH", "", {"owner": "x"})):
        status, body, _ = await api.call(method, path + action, sent)
        assert (status, body["error"]["code"]) == (409, "key_revoked")
    assert (await api.call("POST", f"{path}/revoke"))[0] == 200


async def test_disable_and_enable(api: Api) -> None:
    key, _ = await api.key()
    for action, status in (("disable", "disabled"), ("disable", "disabled"), ("enable", "active")):
        code, body, _ = await api.call("POST", f"/admin/v1/keys/{key['id']}/{action}")
        assert (code, body["key"]["status"]) == (200, status)


async def test_rotate_keeps_the_key_and_tells_who_uses_which_secret(api: Api) -> None:
    key, first = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    status, body, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "1h"})
    assert status == 200
    assert body["secret"] != first
    assert body["key"]["id"] == key["id"]
    current, old = body["key"]["secrets"]
    assert (current["state"], old["state"]) == ("current", "retiring")
    assert old["id"] == key["secrets"][0]["id"]
    _, body, _ = await api.call("GET", f"{path}/secrets")
    assert [one["requests"] for one in body["data"]] == [0, 0]
    assert body["safe_to_retire"] == {"safe": False, "reason": "The new secret has not been used yet."}
    status, body, _ = await api.call("POST", f"{path}/secrets/{current['id']}/revoke")
    assert (status, body["error"]["param"]) == (409, "secret_id")
    status, body, _ = await api.call("POST", f"{path}/secrets/{old['id']}/revoke", {"reason": "moved"})
    assert (status, body["key"]["secrets"][1]["state"]) == (200, "revoked")
    _, body, _ = await api.call("GET", f"{path}/secrets")
    assert body["safe_to_retire"] is None
    assert (await api.call("POST", f"{path}/secrets/sec_{'0' * 16}/revoke"))[0] == 404


async def test_rotate_at_once_and_by_default_in_a_day(api: Api) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}/rotate"
    _, body, _ = await api.call("POST", path, {"grace_period": "0s"})
    assert body["key"]["secrets"][1]["state"] == "revoked"
    _, body, _ = await api.call("POST", path)
    assert body["key"]["secrets"][1]["state"] == "retiring"
    api.clock.offset = 86401
    _, body, _ = await api.call("GET", f"/admin/v1/keys/{key['id']}")
    assert [one["state"] for one in body["key"]["secrets"]] == ["current", "revoked", "revoked"]


async def test_a_repeated_create_makes_one_key(api: Api) -> None:
    headers = {"Idempotency-Key": "abc-1"}
    status, first, _ = await api.call("POST", "/admin/v1/keys", {"name": "once"}, headers=headers)
    assert status == 201
    status, again, _ = await api.call("POST", "/admin/v1/keys", {"name": "once"}, headers=headers)
    assert (status, again["secret"], again["key"]["id"]) == (200, None, first["key"]["id"])
    status, body, _ = await api.call("POST", "/admin/v1/keys", {"name": "other"}, headers=headers)
    assert (status, body["error"]["code"]) == (409, "idempotency_conflict")
    assert await api.services.keys.count() == 1
    assert len(await api.events("action=api_key.created")) == 1


async def test_a_repeated_rotate_rotates_once(api: Api) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}/rotate"
    headers = {"Idempotency-Key": "abc-2", "If-Match": "1"}
    status, first, _ = await api.call("POST", path, {}, headers=headers)
    assert (status, bool(first["secret"])) == (200, True)
    status, again, _ = await api.call("POST", path, {}, headers=headers)
    assert (status, again["secret"], again["key"]["revision"]) == (200, None, 2)
    assert (await api.call("POST", path, {}, headers={"Idempotency-Key": "a b"}))[0] == 400


async def test_list_pages_and_filters(api: Api) -> None:
    made = [
        (await api.key(name=f"{'Web' if number % 2 else 'batch'} {number}", owner="ops" if number == 3 else ""))[0] for number in range(5)
    ]
    await api.call("POST", f"/admin/v1/keys/{made[0]['id']}/disable")

    async def listed(query: str) -> list[str]:
        status, body, _ = await api.call("GET", f"/admin/v1/keys?{query}")
        assert status == 200, body
        return [key["name"] for key in body["data"]]

    assert await listed("") == ["batch 4", "Web 3", "batch 2", "Web 1", "batch 0"]
    assert await listed("q=wEB") == ["Web 3", "Web 1"]
    assert await listed("q=ops") == ["Web 3"]
    assert await listed("owner=ops") == ["Web 3"]
    assert await listed("status=disabled") == ["batch 0"]
    assert await listed(f"q={made[2]['id']}") == ["batch 2"]
    _, page, _ = await api.call("GET", "/admin/v1/keys?limit=3")
    assert len(page["data"]) == 3
    _, rest, _ = await api.call("GET", f"/admin/v1/keys?limit=3&cursor={page['next_cursor']}")
    assert (len(rest["data"]), rest["next_cursor"]) == (2, None)
    status, body, _ = await api.call("GET", "/admin/v1/keys?cursor=nonsense")
    assert (status, body["error"]["param"]) == (400, "cursor")


async def test_import_by_digest(api: Api) -> None:
    sha256 = hashlib.sha256(b"old-token").hexdigest()
    status, body, _ = await api.call("POST", "/admin/v1/keys/import", {"name": "old", "sha256": sha256.upper(), "hint": "old-…oken"})
    assert (status, body["key"]["hint"]) == (201, "old-…oken")
    assert set(body["key"]) == MEMBERS
    status, again, _ = await api.call("POST", "/admin/v1/keys/import", {"name": "old", "sha256": sha256})
    assert (status, again["error"]["code"], again["error"]["param"]) == (409, "conflict", "sha256")
    _, found, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": "old-token"})
    assert (found["key"]["id"], found["valid"]) == (body["key"]["id"], True)


async def test_a_digest_is_nothing_but_its_digits(api: Api) -> None:
    sha256 = hashlib.sha256(b"old-token").hexdigest()
    status, body, _ = await api.call("POST", "/admin/v1/keys/import", {"name": "old", "sha256": f"{sha256}\n"})
    assert (status, body["error"]["param"]) == (400, "sha256")
    status, body, _ = await api.call("POST", "/admin/v1/keys/import", {"name": "old", "sha256": sha256, "hint": "old\n"})
    assert (status, body["error"]["param"]) == (400, "hint")
    assert await api.services.keys.count() == 0


async def test_import_of_many_refuses_only_what_is_wrong(api: Api) -> None:
    good = [b'{"name":"k%d","sha256":"%s"}' % (number, hashlib.sha256(b"%d" % number).hexdigest().encode()) for number in range(40)]
    lines = [*good, b"", b"not json", b'{"name":"x"}', good[0]]
    headers = {"Content-Type": "application/x-ndjson"}
    status, body, _ = await api.call("POST", "/admin/v1/keys/import/lines", data=b"\n".join(lines), headers=headers)
    assert status == 200
    assert (body["imported"], body["refused"]) == (40, 3)
    refused = {line["line"]: line["error"] for line in body["lines"] if line["error"]}
    assert sorted(refused) == [42, 43, 44]
    assert "sha256: is missing" in refused[43]
    assert "already" in refused[44]


async def test_identify_a_leaked_token(api: Api) -> None:
    key, secret = await api.key()
    status, body, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": secret})
    assert (status, body["key"]["id"], body["secret"]["id"], body["valid"]) == (200, key["id"], key["secrets"][0]["id"], True)
    await api.call("POST", f"/admin/v1/keys/{key['id']}/rotate", {"grace_period": "0s"})
    _, body, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": secret})
    assert body["valid"] is False
    status, body, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": "something else"})
    assert (status, body["error"]["code"]) == (404, "not_found")


async def test_an_imported_token_opens_nothing_where_such_are_not_accepted(api: Api) -> None:
    _, secret = await api.key()
    sha256 = hashlib.sha256(b"old-token").hexdigest()
    assert (await api.call("POST", "/admin/v1/keys/import", {"name": "old", "sha256": sha256}))[0] == 201
    settings = replace(api.services.settings, keys=replace(api.services.settings.keys, accept_imported=False))
    async with AsyncExitStack() as stack:
        base = await serve(stack, dataclasses.replace(api.services, settings=settings))
        for token, valid in (("old-token", False), (secret, True)):
            status, body, _ = await api.call("POST", f"{base}/admin/v1/keys/identify", {"token": token})
            assert (status, body["valid"]) == (200, valid)


async def test_unknown_keys(api: Api) -> None:
    nobody = f"/admin/v1/keys/key_{'0' * 16}"
    for method, path in (
        ("GET", ""), ("PATCH", ""), ("POST", "/rotate"), ("POST", "/revoke"), ("POST", "/disable"), ("POST", "/enable"),
        ("GET", "/usage"), ("GET", "/secrets"), ("POST", f"/secrets/sec_{'0' * 16}/revoke"),
    ):  # fmt: skip
        status, body, _ = await api.call(method, nobody + path, {} if method != "GET" else None)
        assert (status, body["error"]["code"]) == (404, "not_found"), path
    assert (await api.call("GET", "/admin/v1/keys/key_%0d%0a"))[0] == 404
