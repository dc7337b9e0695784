"""A repeat is known by what it says, not by how that is written."""

from __future__ import annotations

import hashlib
import json

import pytest

from sidecar.store import names
from tests.control.admin.conftest import Api

KEYS = "/admin/v1/keys"
BODY = b'{"name":"once","owner":"\xc3\xa9","metadata":{"a":"1","b":"2"},"limits":{"rpm":60}}'


@pytest.mark.parametrize(
    ("body", "is_repeat"),
    [
        (BODY, True),
        (json.dumps(dict(reversed(json.loads(BODY).items())), indent=2).encode(), True),
        (BODY.replace(b'"a":"1","b":"2"', b'"b":"2","a":"1"'), True),
        (BODY.replace(b'"1"', b'"3"'), False),
        (BODY.replace(b'"a":"1","b":"2"', b'"a":"2","b":"1"'), False),
        (BODY.replace(b"60", b"61"), False),
        (BODY.replace(b"once", b"Once"), False),
        (BODY.replace(b',"limits":{"rpm":60}', b""), False),
    ],
)
async def test_a_body_that_is_written_anew_is_the_same(api: Api, body: bytes, is_repeat: bool) -> None:
    headers = {"Idempotency-Key": "abc-1"}
    status, first, _ = await api.call("POST", KEYS, data=BODY, headers=headers)
    assert status == 201, first
    status, again, _ = await api.call("POST", KEYS, data=body, headers=headers)
    if is_repeat:
        assert (status, again["secret"], again["key"]["id"]) == (200, None, first["key"]["id"])
    else:
        assert (status, again["error"]["code"]) == (409, "idempotency_conflict")
    assert await api.services.keys.count() == 1


@pytest.mark.parametrize(("body", "is_repeat"), [(BODY, True), (BODY.replace(b"60", b"61"), False)])
async def test_a_repeat_of_what_0_1_0_claimed_is_known(api: Api, body: bytes, is_repeat: bool) -> None:
    """The answer was lost as the sidecar was stopped for the update; a client sends the same bytes again."""
    headers = {"Idempotency-Key": "abc-0"}
    status, first, _ = await api.call("POST", KEYS, data=BODY, headers=headers)
    assert status == 201, first
    store = api.services.idempotency._store
    (name,) = await store.call("KEYS", names.IDEMPOTENCY_PREFIX + "*")
    claim = json.loads(await store.call("GET", name))
    claim["request"] = hashlib.sha256(b"keys.create\n" + BODY).hexdigest()
    await store.call("SET", name, json.dumps(claim))
    status, again, _ = await api.call("POST", KEYS, data=body, headers=headers)
    if is_repeat:
        assert (status, again["secret"], again["key"]["id"]) == (200, None, first["key"]["id"])
    else:
        assert (status, again["error"]["code"]) == (409, "idempotency_conflict")


async def test_no_body_is_an_empty_one(api: Api) -> None:
    key, _ = await api.key()
    answers = [
        await api.call("POST", f"{KEYS}/{key['id']}/rotate", data=body, headers={"Idempotency-Key": "abc-2"})
        for body in (b"", b"{}", b" { }")
    ]
    assert [(status, bool(answer["secret"]), answer["key"]["revision"]) for status, answer, _ in answers] == [
        (200, True, 2), (200, False, 2), (200, False, 2),
    ]  # fmt: skip


async def test_a_member_that_is_given_twice_claims_nothing(api: Api) -> None:
    headers = {"Idempotency-Key": "abc-3"}
    status, body, _ = await api.call("POST", KEYS, data=b'{"name":"a","name":"b"}', headers=headers)
    assert (status, body["error"]["code"]) == (400, "invalid_request")
    assert await api.services.idempotency._store.call("KEYS", names.IDEMPOTENCY_PREFIX + "*") == []
    assert (await api.call("POST", KEYS, {"name": "b"}, headers=headers))[0] == 201
