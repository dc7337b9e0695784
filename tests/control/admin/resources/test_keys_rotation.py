"""How many rotations may overlap, through the API, on a real store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.keys.issue import MOST_SECRETS
from tests.control.admin.conftest import Api


async def test_a_rotation_that_would_end_a_secret_before_its_grace_is_refused(api: Api) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    for _ in range(MOST_SECRETS - 1):
        status, body, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "24h"})
        assert status == 200
    first = body["key"]["secrets"][-1]
    assert (first["id"], first["state"]) == (key["secrets"][0]["id"], "retiring")
    status, refused, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "24h"})
    assert (status, refused["error"]["code"]) == (409, "conflict")
    assert refused["error"]["message"] == (
        f"All {MOST_SECRETS} secrets that a key can have are still valid. End one that is no longer used, "
        f"{first['id']} ends first, or rotate with a grace_period of 0s, which ends every one but the new."
    )
    _, unchanged, _ = await api.call("GET", path)
    assert unchanged["key"] == body["key"]
    assert (await api.call("POST", f"{path}/secrets/{first['id']}/revoke"))[0] == 200
    assert (await api.call("POST", f"{path}/rotate", {"grace_period": "24h"}))[0] == 200


async def test_two_attempts_of_one_rotation_at_once_rotate_once(api: Api) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    headers = {"Idempotency-Key": "once", "If-Match": f'"{key["revision"]}"'}
    answers = await asyncio.gather(*(api.call("POST", f"{path}/rotate", {"grace_period": "24h"}, headers=headers) for _ in range(4)))
    assert [status for status, _, _ in answers] == [200] * 4
    assert sum(body["secret"] is not None for _, body, _ in answers) == 1
    _, after, _ = await api.call("GET", path)
    assert len(after["key"]["secrets"]) == 2


async def test_a_repeat_after_its_secret_was_forgotten_rotates_nothing(api: Api) -> None:
    """Made once more, the secret would have the id of one that workers and `data_dir` remember as ended."""
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    once = {"Idempotency-Key": "once"}
    _, first, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "0s"}, headers=once)
    for _ in range(MOST_SECRETS):
        status, latest, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "0s"})
        assert status == 200
    assert first["key"]["secrets"][0]["id"] not in [secret["id"] for secret in latest["key"]["secrets"]]
    status, repeated, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "0s"}, headers=once)
    assert (status, repeated["secret"], repeated["key"]) == (200, None, latest["key"])
    status, refused, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "1s"}, headers=once)
    assert (status, refused["error"]["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize("act", ["rotate", "end_secret"])
async def test_the_record_has_nothing_of_what_somebody_else_did_meanwhile(api: Api, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    _, rotated, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "24h"})
    old = rotated["key"]["secrets"][1]["id"]
    does, rotate = getattr(api.services.keys, act), api.services.keys.rotate
    theirs = []

    async def late(*args: Any, **more: Any) -> Any:
        # Between the look at the key and the act.
        theirs.append((await rotate(key["id"], 3600.0)).key.secrets[0].id)
        return await does(*args, **more)

    monkeypatch.setattr(api.services.keys, act, late)
    call = ("rotate", {"grace_period": "24h"}) if act == "rotate" else (f"secrets/{old}/revoke", {})
    status, answer, _ = await api.call("POST", f"{path}/{call[0]}", call[1])
    assert status == 200
    (event, *_) = await api.events(f"target={key['id']}")
    change = event["changes"]["secrets"]
    before, after = ([secret["id"] for secret in change[side]] for side in ("old", "new"))
    assert after == [secret["id"] for secret in answer["key"]["secrets"]]
    assert before == (after[1:] if act == "rotate" else after)
    assert theirs[0] in before
    if act == "end_secret":
        differing = [there["id"] for there, here in zip(change["old"], change["new"], strict=True) if there != here]
        assert differing == [old]


async def test_the_end_of_a_grace_is_not_put_down_to_a_later_act(api: Api) -> None:
    key, _ = await api.key()
    path = f"/admin/v1/keys/{key['id']}"
    _, rotated, _ = await api.call("POST", f"{path}/rotate", {"grace_period": "1h"})
    newest, oldest = (secret["id"] for secret in rotated["key"]["secrets"])
    api.clock.offset = 7200
    assert (await api.call("POST", f"{path}/secrets/{oldest}/revoke"))[0] == 200
    assert (await api.call("POST", f"{path}/rotate", {"grace_period": "0s"}))[0] == 200
    turned, ended, first = (event["changes"] for event in (await api.events(f"target={key['id']}"))[:3])
    states = [
        {secret["id"]: secret["state"] for secret in changes["secrets"][side]} for changes in (first, turned) for side in ("old", "new")
    ]
    assert states[0] == {oldest: "current"}
    assert states[1] == {newest: "current", oldest: "retiring"}
    assert states[2] == {newest: "current", oldest: "revoked"}, "it had ended an hour before"
    assert (states[3][newest], states[3][oldest]) == ("revoked", "revoked")
    assert ended == {}
