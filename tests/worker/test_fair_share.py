"""One key's flood takes no other key's place, whatever comes in which order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.worker.fair_share import has_place
from tests.worker.plane import HubSide, Plane, running, until
from tests.worker.test_gateway import ask


@given(st.integers(1, 300), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=1500))
def test_no_order_of_coming_and_going_overfills_or_starves(places: int, steps: list[tuple[int, bool]]) -> None:
    held: Counter[int] = Counter()
    for key, comes in steps:
        taken = held.total()
        if not comes:
            held[key] -= bool(held[key])
        elif has_place(held[key], taken, places):
            held[key] += 1
        else:
            assert taken == places or held[key] > 0, "a key without a place was refused although one is free"
        assert held.total() <= places


@pytest.mark.parametrize("places", [1, 2, 3, 100, 4096])
@pytest.mark.parametrize("floods", [1, 2, 5, 20])
def test_floods_share_alike_and_leave_room_for_others(places: int, floods: int) -> None:
    held: Counter[int] = Counter()
    progress = True
    while progress:
        progress = False
        for key in range(floods):
            if has_place(held[key], held.total(), places):
                held[key] += 1
                progress = True
    free = places - held.total()
    assert free >= places // (1 + 2 * floods) - 1
    if places > 3 * floods:
        assert free > 0 and max(held.values()) - min(held.values()) <= 2


@asynccontextmanager
async def flooded(places: int, profile: str = "generic") -> AsyncIterator[tuple[Plane, str]]:
    """A plane whose hub answers nothing, and the key that holds all the places it can get."""

    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    async with running(profile=profile, environment={"SIDECAR_PROXY__BOUNDS__REQUESTS": str(places)}) as plane:
        plane.hub.answer = silent
        flood = plane.keys.issue()
        async with asyncio.timeout(60):
            while not plane.events.requests:
                _, writer = await plane.open()
                writer.write(plane.get(key=flood))
                before = len(plane.plane.open)
                while len(plane.plane.open) == before and not plane.events.requests:
                    await asyncio.sleep(0.005)
        yield plane, flood


async def test_a_flood_of_one_key_is_refused_before_others_are() -> None:
    async with flooded(30) as (plane, flood):
        assert len(plane.plane.open) == 20
        status, reason, fields = await ask(plane, plane.get(key=flood))
        assert (status, reason) == (503, "overloaded") and int(fields["retry-after"]) >= 1
        plane.hub.answer = plane.hub.ok
        for _ in range(20):
            assert b"200 OK" in await plane.exchange(plane.get(key=plane.keys.issue()))


async def test_public_routes_share_places_as_one_key() -> None:
    async with running(profile="aigne", environment={"SIDECAR_HUB__MAX_CONNECTIONS": "6"}) as plane:

        async def silent(side: HubSide) -> None:
            await side.reader.read(1)

        plane.hub.answer = silent
        public = b"GET /api/ai-providers/models HTTP/1.1\r\nHost: a\r\n\r\n"
        for _ in range(12):
            _, writer = await plane.open()
            writer.write(public)
        async with asyncio.timeout(20):
            while len(plane.events.requests) < 8:
                await asyncio.sleep(0.005)
        assert len(plane.plane.open) == 4 and plane.plane.open.in_flight() == {}
        assert {event.reason for event in plane.events.requests} == {"overloaded"}
        plane.plane.open.key_changed(None)
        plane.hub.answer = plane.hub.ok
        assert b"200 OK" in await plane.exchange(plane.get("/api/v2/status"))
        assert len(plane.plane.open) == 4, "what has no key is no key's to cut"


async def test_a_public_route_is_no_way_into_a_loop() -> None:
    async with running(profile="aigne") as plane:
        raw = b"GET /api/ai-providers/models HTTP/1.1\r\nHost: a\r\nVia: 1.1 sidecar-test\r\nConnection: close\r\n\r\n"
        assert (await ask(plane, raw))[0] == 508 and not plane.hub.seen


async def test_bodies_that_are_read_whole_fit_into_the_room_for_them() -> None:
    async with running(
        profile="aigne", environment={f"SIDECAR_PROXY__BOUNDS__INSPECTED_{name}": "300KiB" for name in ("BODY", "TOTAL")}
    ) as plane:
        body = b'{"input":{"modelOptions":{"model":"m"}},"x":"' + b"x" * 200_000 + b'"}'
        slow = []
        for _ in range(2):
            reader, writer = await plane.open()
            writer.write(plane.post(body, "/api/v2/chat")[:-10])
            slow.append((reader, writer))
        (event,) = await plane.event()
        assert event.reason == "overloaded"
        assert b"200 OK" in await plane.exchange(plane.post(b'{"input":{"modelOptions":{"model":"m"}}}', "/api/v2/chat"))
        for _, writer in slow:
            writer.transport.abort()
        async with asyncio.timeout(20):
            while plane.plane.front.room.free != 300 << 10:
                await asyncio.sleep(0.005)
        assert b"200 OK" in await plane.exchange(plane.post(body, "/api/v2/chat"))
        assert plane.plane.front.room.free == 300 << 10


async def test_one_keys_large_bodies_leave_room_for_those_of_others() -> None:
    sizes = {"SIDECAR_PROXY__BOUNDS__INSPECTED_BODY": "100KiB", "SIDECAR_PROXY__BOUNDS__INSPECTED_TOTAL": "1000KiB"}
    async with running(profile="aigne", environment=sizes) as plane:
        flood, body = plane.keys.issue(), b'{"input":{"modelOptions":{"model":"m"}},"x":"' + b"x" * 99_000 + b'"}'
        room = plane.plane.front.room
        async with asyncio.timeout(20):
            while not plane.events.requests:
                _, writer = await plane.open()
                writer.write(plane.post(body, "/api/v2/chat", key=flood)[:-1])
                before = room.free
                while room.free > before - 99_000 and not plane.events.requests:
                    await asyncio.sleep(0.005)
        assert {event.reason for event in plane.events.requests} == {"overloaded"}
        reader, writer = await plane.open()
        request = plane.post(body, "/api/v2/chat", key=plane.keys.issue())
        writer.write(request[:-1])
        before = room.free
        await until(lambda: room.free <= before - 99_000)
        writer.write(request[-1:])
        assert b"200 OK" in await asyncio.wait_for(reader.read(-1), 20)
