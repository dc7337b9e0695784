"""Limits hold over all workers and replicas: four workers in two sidecars on one store, and a client that hammers.

The real minute, and the slots of killed workers, are in tests/long/test_limits_in_time.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from sidecar.store import names
from tests.support.hammer import Told, chat_request, count, hammer, status_request
from tests.support.hub import HubProcess, running_hub
from tests.support.replicas import replicas
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

RPM = 600
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def pair(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Sidecar], Server]]:
    with replicas(tmp_path_factory.mktemp("replicas"), hub.url) as pair:
        yield pair


def urls(sidecars: list[Sidecar]) -> list[str]:
    return [sidecar.url for sidecar in sidecars]


def hammered(sidecars: list[Sidecar], secret: str, stop: Callable[[list[Told]], bool]) -> list[Told]:
    return asyncio.run(hammer(urls(sidecars), status_request(secret), connections=6, stop=stop))


class Window:
    """The admissions that the store counts for a key, in microseconds; they can be made older, as if time had passed."""

    def __init__(self, server: Server, key_id: str) -> None:
        self._redis = redis.Redis(port=server.port)
        self._name = names.limit(key_id, "rpm")

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def times(self) -> list[int]:
        return [int(time) for time in self._redis.lrange(self._name, 0, -1)]

    def replace(self, times: list[int]) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.delete(self._name).rpush(self._name, *times).pexpire(self._name, 70_000).execute()


def test_a_burst_is_admitted_to_the_limit_and_each_place_comes_back_after_a_minute(pair: tuple[list[Sidecar], Server]) -> None:
    sidecars, server = pair
    key_id, secret = sidecars[0].create_key(limits={"rpm": RPM})
    told = hammered(sidecars, secret, lambda told: count(told, 429) >= 400)
    assert {one.status for one in told} == {200, 429}
    with Window(server, key_id) as window:
        burst = window.times()
        assert count(told) == RPM == len(burst)
        assert count(hammered(sidecars, secret, lambda told: count(told, 429) >= 200)) == 0
        # Half of them grow older than a minute: that many may go, and no more.
        window.replace([time - 2 * MINUTE for time in burst[: RPM // 2]] + burst[RPM // 2 :])
        assert count(hammered(sidecars, secret, lambda told: count(told, 429) >= 200)) == RPM // 2


def test_the_window_slides(pair: tuple[list[Sidecar], Server]) -> None:
    sidecars, server = pair
    key_id, secret = sidecars[0].create_key(limits={"rpm": RPM})
    hammered(sidecars, secret, lambda told: count(told) >= RPM)
    with Window(server, key_id) as window:
        # Now it is half a second before the first of them is a minute old.
        burst = window.times()
        shift = MINUTE - 500_000 - (burst[-1] - burst[0])
        earlier = [time - shift for time in burst]
        window.replace(earlier)
        told = hammered(sidecars, secret, lambda told: count(told) >= RPM and told[-1].status == 429)
        later = [time for time in window.times() if time > earlier[-1]]
    # Each place was taken again, none before the one that had it was a minute old.
    assert count(told) == len(later) == RPM
    assert all(new >= old + MINUTE for old, new in zip(earlier, later, strict=True))


async def test_max_concurrency_five_never_has_six_at_the_hub(tmp_path: Path) -> None:
    async with running_hub() as hub:
        manager = replicas(tmp_path, hub.url)
        sidecars, _ = await asyncio.to_thread(manager.__enter__)
        try:
            key_id, secret = await asyncio.to_thread(lambda: sidecars[1].create_key(limits={"max_concurrency": 5}))
            hub.requests.clear()
            request = chat_request(secret, "demo/slow:0.05")
            told = await hammer(urls(sidecars), request, connections=10, stop=lambda told: count(told) >= 120 and count(told, 429) >= 120)
            assert {one.status for one in told} == {200, 429}
            assert hub.requests.peak == 5
            assert hub.requests.seen == count(told)
            # Every slot is free again: five at a time get through.
            await asyncio.to_thread(wait_until, lambda: is_idle(sidecars, key_id), within=20, what="an idle key")
            hub.requests.clear()
            again = await hammer(urls(sidecars)[:1], request, connections=5, stop=lambda told: count(told) >= 5)
            assert count(again) >= 5
            assert hub.requests.peak <= 5
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)


def is_idle(sidecars: list[Sidecar], key_id: str) -> bool:
    return not any(sidecar.metric("sidecar_key_in_flight", key_id=key_id) for sidecar in sidecars)


def test_what_is_refused_says_when_to_come_again(pair: tuple[list[Sidecar], Server]) -> None:
    sidecars, _ = pair
    _, secret = sidecars[0].create_key(limits={"rpm": 2, "tpm": 100_000})
    answers = [sidecars[number % 2].ask(secret) for number in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "100000"
    assert answers[2].code == "rate_limit_exceeded"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60


def test_a_quota_holds_over_replicas_and_counts_what_was_used(pair: tuple[list[Sidecar], Server]) -> None:
    sidecars, _ = pair
    _, secret = sidecars[0].create_key(quota={"requests": 3, "period": "day", "timezone": "Europe/Berlin"})
    answers = [sidecars[number % 2].ask(secret) for number in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[3].code == "insufficient_quota"
    assert answers[3].headers["x-should-retry"] == "false"
    # Tokens: what the hub told counts, not what was reserved for the request.
    key_id, secret = sidecars[1].create_key(quota={"tokens": 200, "period": "month"})
    spent = 0
    while (answer := sidecars[0].ask(secret)).status == 200:
        spent += answer.json["usage"]["inputTokens"] + answer.json["usage"]["outputTokens"]
        wait_until(lambda: used(sidecars[1], key_id) == spent)  # noqa: B023
    assert answer.code == "insufficient_quota"
    assert 200 <= spent < 200 + 60, "one answer at most may go over"


def test_a_quota_that_is_only_reserved_is_not_called_spent(pair: tuple[list[Sidecar], Server]) -> None:
    sidecars, _ = pair
    key_id, secret = sidecars[0].create_key(quota={"tokens": 1000, "period": "month"})
    slow = {"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "demo/slow:8", "maxTokens": 1000}}}
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(sidecars[0].ask, secret, body=slow)
        wait_until(lambda: sidecars[0].metric("sidecar_key_in_flight", key_id=key_id) == 1)
        refused = sidecars[1].ask(secret)
        assert not under_way.done()
        assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        assert "x-should-retry" not in refused.headers
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
        assert under_way.result().status == 200
    wait_until(lambda: sidecars[1].ask(secret).status == 200)


def used(sidecar: Sidecar, key_id: str) -> int:
    totals = sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]
    return int(totals["input_tokens"] + totals["output_tokens"])
