"""Whose token it is, as people paste it."""

from __future__ import annotations

from sidecar.keys.issue import MOST_SECRETS
from tests.control.admin.conftest import Api


async def test_a_leaked_token_is_identified_as_it_was_pasted(api: Api) -> None:
    """Where it was found it stood in a header, perhaps, or at the end of a line: "not ours" would be a dangerous answer."""
    key, secret = await api.key()
    for token in (f"Bearer {secret}", f" bearer  {secret}\n", f"\t{secret}\r\n"):
        status, body, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": token})
        assert (status, body["key"]["id"], body["valid"]) == (200, key["id"], True), token
    status, body, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": " \n"})
    assert (status, body["error"]["param"], body["error"]["message"]) == (400, "token", "token: is blank.")


async def test_who_finds_no_key_for_a_token_is_told_how_far_keys_remember(api: Api) -> None:
    key, first = await api.key()
    for _ in range(MOST_SECRETS):
        await api.call("POST", f"/admin/v1/keys/{key['id']}/rotate", {"grace_period": "0s"})
    status, body, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": first})
    assert status == 404
    assert f"remembers its {MOST_SECRETS} latest secrets only" in body["error"]["message"]


async def test_who_finds_an_admin_token_is_not_told_that_it_is_nobody_s(api: Api) -> None:
    leaked = await api.admin_token("admin")
    status, body, _ = await api.call("POST", "/admin/v1/keys/identify", {"token": f"Bearer {leaked}"})
    message = body["error"]["message"]
    assert (status, body["error"]["code"]) == (404, "not_found")
    assert "an admin token" in message and f"sat_…{leaked[-4:]}" in message and leaked[4:-4] not in message
