"""Limits in real time: every sliding minute of a key that is hammered, and the slots of workers that were killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hammer import Told, chat_request, hammer, status_request
from tests.support.hub import hub_process
from tests.support.replicas import replicas
from tests.support.sidecar import Sidecar, wait_until

SECONDS = 150.0
MINUTE = 60.0
RPM = 600
FREE_WITHIN = 30.0


@pytest.fixture
def sidecars(tmp_path: Path) -> Iterator[list[Sidecar]]:
    with hub_process() as hub, replicas(tmp_path, hub.url) as (sidecars, _):
        yield sidecars


def admitted_in(told: list[Told], begin: float, end: float) -> tuple[int, int]:
    """Admissions in a span: those that must have been within it, and those that may have been.

    A client knows only that it was admitted between its question and the answer.
    """
    surely = sum(one.sent >= begin and one.received <= end for one in told if one.status == 200)
    perhaps = sum(one.received >= begin and one.sent <= end for one in told if one.status == 200)
    return surely, perhaps


@pytest.mark.parametrize("pause", [0.1, 0.0])
def test_rpm_600_in_every_sliding_minute(sidecars: list[Sidecar], pause: float) -> None:
    """A minute in which more was asked for is one at whose end the client was refused."""
    _, secret = sidecars[0].create_key(limits={"rpm": RPM})
    begin = time.time()
    told = asyncio.run(
        hammer(
            [sidecar.url for sidecar in sidecars], status_request(secret), connections=3, pause=pause,
            stop=lambda _: time.time() > begin + SECONDS, deadline=SECONDS + 60,
        )
    )  # fmt: skip
    assert {one.status for one in told} == {200, 429}
    admitted = [one for one in told if one.status == 200]
    most = max(admitted_in(admitted, one.sent, one.sent + MINUTE)[0] for one in admitted)
    refused = [one for one in told if one.status == 429 and one.sent > begin + MINUTE]
    every = len(refused) // 2000 + 1
    least = min(admitted_in(admitted, one.sent - MINUTE, one.received)[1] for one in refused[::every])
    print(f"\n{len(told)} asked, {len(admitted)} admitted; in no minute more than {most}, in none with refusals fewer than {least}")
    assert most <= RPM * 1.01
    assert least >= RPM * 0.99


def test_slots_of_killed_workers_are_free_within_the_lease(sidecars: list[Sidecar]) -> None:
    _, secret = sidecars[0].create_key(limits={"max_concurrency": 5})
    held = [held_open(sidecars[0], secret) for _ in range(5)]
    wait_until(lambda: sidecars[1].ask(secret).status == 429, within=10, what="five requests under way")
    for worker in sidecars[0].children("worker"):
        os.kill(worker, signal.SIGKILL)
    killed = time.monotonic()
    assert sidecars[1].ask(secret).status == 429
    wait_until(lambda: sidecars[1].ask(secret).status == 200, within=FREE_WITHIN + 10, what="a free slot")
    took = time.monotonic() - killed
    print(f"\nfree again {took:.1f} s after the kill")
    assert took <= FREE_WITHIN
    # All five, not only one.
    again = [held_open(sidecars[1], secret) for _ in range(5)]
    wait_until(lambda: sidecars[1].ask(secret).status == 429, within=10, what="five requests under way again")
    for connection in [*held, *again]:
        connection.close()


def held_open(sidecar: Sidecar, secret: str) -> socket.socket:
    """A request that the hub does not answer."""
    host, port = sidecar.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(chat_request(secret, "demo/hang"))
    return connection
