"""The product's promise with every real part: create a key, call the hub with it, see its use, revoke it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.spoofed import SPOOFED


@pytest.fixture(scope="module")
def sidecar(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    directory: Path = tmp_path_factory.mktemp("sidecar")
    with Sidecar(directory, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        yield sidecar


def test_a_key_works_is_counted_and_dies(sidecar: Sidecar) -> None:
    key_id, secret = sidecar.create_key(name="first application")
    assert sidecar.metric("sidecar_key_requests_total", key_id=key_id) == 0
    answer = sidecar.ask(secret)
    assert answer.status == 200 and answer.headers["x-request-id"]
    usage = answer.json["usage"]
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == 1)
    assert sidecar.metric("sidecar_key_tokens_total", key_id=key_id, token_type="input") == usage["inputTokens"]
    expected = {"requests": 1, "input_tokens": usage["inputTokens"], "output_tokens": usage["outputTokens"]}
    wait_until(lambda: expected.items() <= sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"].items(), what="its use")
    assert sidecar.admin("POST", f"/keys/{key_id}/revoke").status == 200
    wait_until(lambda: sidecar.ask(secret).code == "api_key_revoked", within=2)
    assert all(sidecar.ask(secret).status == 401 for _ in range(20))
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=key_id, reason="api_key_revoked") >= 20)


def test_attribution_reaches_the_hub_and_the_key_does_not(sidecar: Sidecar, hub: HubProcess) -> None:
    key_id, secret = sidecar.create_key()
    hub.clear()
    assert sidecar.ask(secret).status == 200
    (seen,) = hub.requests()
    assert f"x-aigne-hub-client-did: {key_id}@sidecar" in seen["head"].lower().replace(key_id.lower(), key_id)
    assert secret not in seen["head"] and ACCESS_KEY in seen["head"]


def test_the_documented_curl_works_with_only_host_and_key_replaced(sidecar: Sidecar) -> None:
    _, secret = sidecar.create_key()
    body = {"model": "aignehub/gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello"}]}
    answer = sidecar.ask(secret, "/api/v1/chat/completions", body)
    assert answer.status == 200 and answer.json["role"] == "assistant"


def test_an_admin_token_is_no_api_key_and_the_other_way_round(sidecar: Sidecar) -> None:
    _, secret = sidecar.create_key()
    assert sidecar.ask(sidecar.admin_token).status == 401
    assert call("GET", f"{sidecar.admin_url}/admin/v1/keys", headers={"Authorization": f"Bearer {secret}"}).status == 401


def test_nothing_that_speaks_of_identity_reaches_the_hub(sidecar: Sidecar, hub: HubProcess) -> None:
    _, secret = sidecar.create_key()
    hub.clear()
    fields = {line.partition(": ")[0]: line.partition(": ")[2] for line in SPOOFED}
    fields["Connection"] = "authorization, x-aigne-hub-client-did, x-request-id"
    query = "?login_token=admin&token=admin&__jwt=admin&setupToken=admin&visitorId=admin&a=1&login%5Ftoken=admin"
    body = {"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "openai/gpt-5-mini"}}}
    answer = call("POST", f"{sidecar.url}/api/v2/chat{query}", body, fields | {"Authorization": f"Bearer {secret}"})
    assert answer.status == 200, answer.body
    (seen,) = hub.requests()
    head = seen["head"].lower()
    assert (
        "admin" not in head and "6.6.6.6" not in head and "cookie" not in head and "_" not in head.replace("req_", "").replace("key_", "")
    )
    assert "?a=1 http/1.1" in head and "authorization: bearer" in head


def test_streams_image_and_embeddings_are_metered(sidecar: Sidecar) -> None:
    key_id, secret = sidecar.create_key()
    chat = {
        "input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "openai/gpt-5-mini"}},
        "options": {"streaming": True},
    }
    assert b"data:" in sidecar.ask(secret, body=chat).body
    assert (
        sidecar.ask(secret, "/api/v2/image", {"input": {"prompt": "a cat", "modelOptions": {"model": "openai/gpt-image-1"}}}).status == 200
    )
    embeddings = {"input": {"input": "hi", "modelOptions": {"model": "openai/text-embedding-3-small"}}}
    assert sidecar.ask(secret, "/api/v2/embeddings", embeddings).status == 200

    def counted() -> bool:
        totals = sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]
        return bool(totals["requests"] == 3 and totals["images"] == 1 and totals["input_tokens"] > 0)

    wait_until(counted)
