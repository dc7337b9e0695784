"""What each key used, counted four ways: by the client, by the hub, in /metrics and by the usage API."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.hammer import chat_request, hammer
from tests.support.hub import ACCESS_KEY, HubProcess, hub_process
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

OUTAGE = float(os.environ.get("SIDECAR_TEST_OUTAGE", "6"))
"""Seconds without a store; ten minutes by `make outage-test`."""
SOON = 20.0


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    with hub_process() as hub:
        yield hub


# The client -------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What a client saw of its own calls."""

    outcomes: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    credits: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    untold: int = 0
    """Successful answers of a model that told no use."""

    @property
    def requests(self) -> int:
        return self.outcomes.total()


def chat(model: str = "openai/gpt-5-mini", words: str = "Hi there", *, streaming: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": words}]
    return {"input": {"messages": messages, "modelOptions": {"model": model}}, "options": {"streaming": streaming}}


CHAT, COMPLETIONS, IMAGE, EMBEDDINGS = "/api/v2/chat", "/api/v2/chat/completions", "/api/v2/image", "/api/v2/embeddings"
UNTOLD = "openai/gpt-4o"
"""Asked for only where the hub tells the client nothing of what was used, but bills it."""
MESSAGES = [{"role": "user", "content": "Say a word"}]
CALLS: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, chat(), "ok"),
    (CHAT, chat(words="one two three four"), "ok"),
    (CHAT, chat(streaming=True), "ok"),
    (CHAT, chat("demo/long:300", streaming=True), "ok"),
    (CHAT, chat("demo/silent"), "ok"),
    (CHAT, chat("demo/silent", streaming=True), "ok"),
    (COMPLETIONS, {"model": "openai/gpt-5-mini", "messages": MESSAGES, "stream": True}, "ok"),
    (COMPLETIONS, {"model": UNTOLD, "messages": MESSAGES}, "ok"),
    (IMAGE, {"input": {"prompt": "a cat", "n": 2, "modelOptions": {"model": "openai/gpt-image-1"}}}, "ok"),
    (EMBEDDINGS, {"input": {"input": ["a b", "c"], "modelOptions": {"model": "openai/text-embedding-3-small"}}}, "ok"),
    # Errors, those among them that look like a success.
    (CHAT, chat("demo/error"), "hub_error"),
    (CHAT, chat("demo/no-credit"), "hub_error"),
    (CHAT, chat("demo/rate-limited"), "hub_error"),
    (CHAT, chat("demo/error", streaming=True), "hub_error"),
    (COMPLETIONS, {"model": "demo/error", "messages": MESSAGES, "stream": True}, "hub_error"),
    (COMPLETIONS, {"model": "demo/error", "messages": MESSAGES}, "hub_error"),
    (CHAT, {"input": {"messages": "none"}, "model": "x"}, "client_error"),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, chat("openai/gpt-5"), "denied"),
    (IMAGE, {"input": {"prompt": "a cat", "modelOptions": {"model": "openai/gpt-5-mini"}}}, "denied"),
    ("/api/ai-providers", {}, "client_error"),
]


BROKEN: list[tuple[str, dict[str, Any], str]] = [(CHAT, chat("demo/broken", streaming=True), "hub_error")]


def perform(sidecar: Sidecar, secret: str, path: str, body: dict[str, Any], outcome: str, seen: Seen) -> None:
    """One call; what the answer tells is added up as a client would."""
    data = json.dumps(body).encode()
    connection = http.client.HTTPConnection(sidecar.url.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    if body.get("stream"):
        headers["Accept"] = "text/event-stream"
    connection.request("POST", path, data, headers)
    with closing(connection), connection.getresponse() as answer:
        try:
            received = answer.read()
        except (http.client.IncompleteRead, ConnectionResetError):
            received = b""  # what a connection that is reset had brought, nobody can tell
    seen.outcomes[outcome] += 1
    seen.bytes_in += len(data)
    seen.bytes_out += len(received)
    if outcome == "ok":
        assert answer.status == 200
        told(answer.headers.get_content_type(), received, seen)


def told(content_type: str, received: bytes, seen: Seen) -> None:
    usage: dict[str, Any] | None = None
    if content_type == "text/event-stream":
        for line in received.splitlines():
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                usage = event.get("usage") or event.get("delta", {}).get("json", {}).get("usage") or usage
    else:
        document = json.loads(received)
        usage = document.get("usage")
        seen.images += len(document.get("images", ()))
    if usage is None:
        seen.untold += 1
        return
    seen.input_tokens += usage.get("inputTokens", usage.get("promptTokens", 0))
    seen.output_tokens += usage.get("outputTokens", usage.get("completionTokens", 0))
    seen.credits += usage.get("aigneHubCredits", 0.0)


# The hub, /metrics and the usage API ------------------------------------------------------------


def billed(hub: HubProcess, key_id: str) -> list[dict[str, Any]]:
    """The hub's own ledger of a key."""
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        url = f"{hub.url}api/user/model-calls?appDid={key_id}@sidecar&pageSize=100&page={page}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {ACCESS_KEY}"}), timeout=10) as answer:
            listed = json.load(answer)["list"]
        if not listed:
            return found
        found += listed
        page += 1


def usage_of(sidecar: Sidecar, key_id: str, query: str = "") -> Any:
    return sidecar.admin("GET", f"/keys/{key_id}/usage{query}").json


def requests_of(sidecar: Sidecar, key_id: str) -> int:
    """Requests of a key by the usage API; -1 while it cannot tell."""
    answer = sidecar.admin("GET", f"/keys/{key_id}/usage")
    return int(answer.json["totals"]["requests"]) if answer.status == 200 else -1


def test_four_counts_of_the_same_traffic_are_the_same(hub: HubProcess, tmp_path: Path) -> None:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        key_id, secret = sidecar.create_key()
        strict_id, strict_secret = sidecar.create_key(allowed_models=["openai/gpt-5-mini"], allowed_routes=["chat"])
        seen, refused = Seen(), Seen()
        hub.clear()
        rounds = 4
        # Threads add to sums of their own: += of two threads at a time loses one.
        with ThreadPoolExecutor(rounds) as pool:
            for part in pool.map(lambda _: round_of_calls(sidecar, secret, CALLS), range(rounds)):
                add(seen, part)
        add(refused, round_of_calls(sidecar, strict_secret, REFUSED))
        assert seen.requests == rounds * len(CALLS)
        wait_until(lambda: requests_of(sidecar, key_id) == seen.requests, within=SOON, what="all requests in the ledger")
        wait_until(lambda: requests_of(sidecar, strict_id) == len(REFUSED), within=SOON)

        totals = usage_of(sidecar, key_id)["totals"]
        metric = sidecar.metric
        # Requests by outcome.
        grouped = {group["by"]: group["totals"]["requests"] for group in usage_of(sidecar, key_id, "?group_by=outcome")["groups"]}
        metrics = {outcome: metric("sidecar_key_requests_total", key_id=key_id, outcome=outcome) for outcome in seen.outcomes}
        assert grouped == dict(seen.outcomes) == metrics
        arrived = hub.requests()
        assert len(arrived) == seen.requests == metric("sidecar_key_requests_total", key_id=key_id)
        assert totals["errors"] == seen.outcomes["hub_error"] + seen.outcomes["client_error"]
        # Tokens, images, credits: the hub also bills what it does not tell.
        ledger = billed(hub, key_id)
        told_calls = [call for call in ledger if call["metadata"]["originalModel"] not in (UNTOLD, "demo/silent")]
        assert totals["input_tokens"] == seen.input_tokens == metric("sidecar_key_tokens_total", key_id=key_id, token_type="input")
        assert totals["output_tokens"] == seen.output_tokens == metric("sidecar_key_tokens_total", key_id=key_id, token_type="output")
        assert totals["input_tokens"] == sum(call["usageMetrics"]["inputTokens"] for call in told_calls)
        assert totals["output_tokens"] == sum(call["usageMetrics"]["outputTokens"] for call in told_calls)
        assert totals["images"] == seen.images == sum(call["usageMetrics"]["numberOfImageGeneration"] for call in ledger)
        assert totals["credits"] == pytest.approx(seen.credits)
        assert metric("sidecar_key_usage_missing_total", key_id=key_id) == seen.untold
        # Bytes.
        received = sum(request["length"] for request in arrived)
        assert totals["bytes_in"] == seen.bytes_in == received == metric("sidecar_key_bytes_total", key_id=key_id, direction="request")
        assert totals["bytes_out"] == seen.bytes_out == metric("sidecar_key_bytes_total", key_id=key_id, direction="response")
        # What was refused never came to the hub and used nothing.
        strict = usage_of(sidecar, strict_id)["totals"]
        assert (strict["denied"], strict["errors"], strict["input_tokens"], strict["images"]) == (2, 1, 0, 0)
        assert metric("sidecar_key_requests_total", key_id=strict_id, outcome="denied") == 2
        assert refused.bytes_out > 0 == strict["bytes_out"] == strict["bytes_in"]
        # The call log and the sums over all keys say the same.
        everything = sidecar.admin("GET", "/usage?group_by=key").json
        assert everything["totals"]["requests"] == seen.requests + len(REFUSED)
        assert {group["by"]: group["totals"] for group in everything["groups"]} == {key_id: totals, strict_id: strict}
        calls = sidecar.admin("GET", f"/requests?key={key_id}&limit=1000").json["data"]
        assert Counter(one["outcome"] for one in calls) == seen.outcomes
        assert sum(one["input_tokens"] for one in calls) == seen.input_tokens


def test_an_answer_that_breaks_off_is_an_error_of_the_hub_and_counts_what_passed(hub: HubProcess, tmp_path: Path) -> None:
    with Sidecar(tmp_path, hub.url, ACCESS_KEY) as sidecar:
        key_id, secret = sidecar.create_key()
        round_of_calls(sidecar, secret, BROKEN * 3)
        wait_until(lambda: requests_of(sidecar, key_id) == 3, within=SOON)
        calls = sidecar.admin("GET", f"/requests?key={key_id}").json["data"]
        assert {(one["outcome"], one["ending"]) for one in calls} == {("hub_error", "hub_aborted")}
        assert sum(one["bytes_out"] for one in calls) == usage_of(sidecar, key_id)["totals"]["bytes_out"] > 0
        assert sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="hub_error") == 3


def round_of_calls(sidecar: Sidecar, secret: str, calls: list[tuple[str, dict[str, Any], str]]) -> Seen:
    seen = Seen()
    for path, body, outcome in calls:
        perform(sidecar, secret, path, body, outcome, seen)
    return seen


def add(seen: Seen, part: Seen) -> None:
    for name, value in vars(part).items():
        setattr(seen, name, getattr(seen, name) + value)


# Outages ----------------------------------------------------------------------------------------


async def test_nothing_is_lost_while_the_store_is_away(hub: HubProcess, tmp_path: Path) -> None:
    server = Server(tmp_path / "store", tcp=True)
    server.start()
    settings = {"store__url": server.url, "store__on_unavailable": "serve_cached", "store__max_stale": "1h", "proxy__workers": "2"}
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY, **settings)
    try:
        await asyncio.to_thread(sidecar.start)
        key_id, secret = await asyncio.to_thread(sidecar.create_key)
        stop = asyncio.Event()
        request = chat_request(secret)
        load = asyncio.create_task(
            hammer([sidecar.url], request, connections=6, pause=0.05, stop=lambda _: stop.is_set(), deadline=OUTAGE + 300)
        )
        await asyncio.to_thread(wait_until, lambda: requests_of(sidecar, key_id) > 100, within=SOON, what="load")
        server.kill()
        down = time.time()
        await asyncio.sleep(OUTAGE)
        up = time.time()
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(wait_until, sidecar.is_ready, within=SOON, what="readiness")
        stop.set()
        told = await load
        assert {one.status for one in told} == {200}, "a remembered key was refused"
        await asyncio.to_thread(check_counts, sidecar, key_id, len(told))
        during = sum(one.received > down and one.sent < up for one in told)
        print(f"\n{len(told)} requests, {during} of them during {OUTAGE:g} s without a store; all are counted")
        assert during
    finally:
        await asyncio.to_thread(sidecar.stop)
        server.close()


def check_counts(sidecar: Sidecar, key_id: str, answered: int) -> None:
    """Every one of `answered` equal requests is counted once, and waits nowhere any more."""
    wait_until(lambda: requests_of(sidecar, key_id) >= answered, within=60, what=f"{answered} requests in the ledger")
    totals = usage_of(sidecar, key_id)["totals"]
    (one,) = sidecar.admin("GET", f"/requests?key={key_id}&limit=1").json["data"]
    assert totals["requests"] == answered
    assert totals["output_tokens"] == answered * one["output_tokens"] > 0
    assert sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == answered
    assert sidecar.metric("sidecar_spool_dropped_total") == 0
    wait_until(lambda: sidecar.metric("sidecar_metering_pending_bytes") < 10_000, within=60, what="an empty spool")


async def test_what_ends_while_a_store_that_refuses_is_away_is_counted_too(hub: HubProcess, tmp_path: Path) -> None:
    """With `refuse` new requests are a 503 without a key; those under way end well, and count for theirs."""
    server = Server(tmp_path / "store", tcp=True)
    server.start()
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY, store__url=server.url)
    try:
        await asyncio.to_thread(sidecar.start)
        key_id, secret = await asyncio.to_thread(sidecar.create_key)
        request = chat_request(secret, "demo/slow:8")
        slow = asyncio.create_task(hammer([sidecar.url], request, connections=5, stop=lambda told: len(told) > 0))
        await asyncio.to_thread(wait_until, lambda: sidecar.metric("sidecar_key_in_flight", key_id=key_id) == 5, within=SOON)
        server.kill()
        # Until the lease ends, some are still admitted.
        admitted = 0
        while (await asyncio.to_thread(sidecar.ask, secret)).status == 200:
            admitted += 1
        refused = [(await asyncio.to_thread(sidecar.ask, secret)).code for _ in range(10)]
        assert set(refused) == {"key_store_unavailable"}
        assert [one.status for one in await slow] == [200] * 5
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(wait_until, lambda: requests_of(sidecar, key_id) == 5 + admitted, within=SOON)
        await asyncio.to_thread(
            wait_until, lambda: sidecar.metric("sidecar_auth_failures_total", reason="key_store_unavailable") >= 10, within=SOON
        )
    finally:
        await asyncio.to_thread(sidecar.stop)
        server.close()
