"""Clients that leave before they are answered: what became of the request is recorded although nobody hears it."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.keys.record import Key, Limits
from sidecar.limits.decision import Admission
from sidecar.store.errors import StoreUnavailable
from tests.support.ports import free_ports
from tests.worker.plane import HubSide, running, until

REFUSES = Admission(allowed=False, reason="rpm", retry_after=1.0)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (REFUSES, (429, "rate_limited", "rate_limit_exceeded", "refused")),
        (StoreUnavailable("away"), (503, "sidecar_error", "key_store_unavailable", "refused")),
        (ArithmeticError("a fault of ours"), (500, "sidecar_error", "internal_error", "refused")),
        # Admitted, and then the hub is down.
        (Admission(), (502, "hub_error", "hub_unavailable", "refused")),
    ],
)
async def test_a_refusal_that_nobody_hears_is_no_good_request(verdict: Admission | Exception, expected: tuple[int, str, str, str]) -> None:
    decided = asyncio.Event()

    async def admit(_key: Key, _request_id: str, _tokens: int) -> Admission:
        await decided.wait()
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    async with running(environment={"SIDECAR_HUB__URL": f"http://127.0.0.1:{free_ports(1)[0]}/"}) as plane:
        plane.limiter.admit = admit  # type: ignore[method-assign]
        plane.keys.change(plane.key, limits=Limits(rpm=1))
        _, writer = await plane.open()
        writer.write(plane.get())
        await until(lambda: len(plane.plane.open))
        writer.transport.abort()
        await until(lambda: not plane.plane.front.connections)
        decided.set()
        (event,) = await plane.event()
        assert (event.status, event.outcome, event.reason, event.ending) == expected


@pytest.mark.parametrize(
    ("profile", "route", "keeps"), [("aigne", "/api/v2/chat/completions", True), ("openai", "/v1/chat/completions", False)]
)
async def test_a_call_has_its_place_for_as_long_as_the_hub_works_on_it(profile: str, route: str, keeps: bool) -> None:
    goes_on = asyncio.Event()

    async def stream(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: {}\n\n")
        await goes_on.wait()

    async with running(profile=profile) as plane:
        plane.keys.change(plane.key, limits=Limits(max_concurrency=1))
        plane.hub.answer = stream
        reader, writer = await plane.open()
        writer.write(plane.post(b'{"model":"a","stream":true}', route))
        await reader.readuntil(b"data: {}\n\n")
        writer.transport.abort()
        await until(lambda: not plane.plane.front.connections)
        if keeps:
            await asyncio.sleep(0.05)
            assert not plane.limiter.released
        else:
            await until(lambda: plane.limiter.released)
        goes_on.set()
        await until(lambda: plane.limiter.released)
