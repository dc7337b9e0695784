"""Requests under way are counted by key, and looked at again when it changes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.keys.reader import Found
from sidecar.refusals import Refused
from sidecar.worker.answer import Answers
from sidecar.worker.fair_share import has_place
from sidecar.worker.meter import Record
from sidecar.worker.open_requests import READ_AT_ONCE, OpenRequests
from tests.worker.plane import HubSide, Keys, Plane, RawHub, endless, running, until

PLACES = 6


def record_of(key_id: str) -> Record:
    record = Record("req", 0.0)
    record.key_id = key_id
    return record


def overloaded(act: Callable[[], None]) -> bool:
    try:
        act()
    except Refused as refused:
        return refused.refusal.code == "overloaded"
    return False


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.booleans()), max_size=20))
@example([("a", False)] * 5 + [("b", False)] * 3 + [("", False), ("a", True)])
def test_requests_are_counted_by_key_and_have_their_share_of_the_places(steps: list[tuple[str, bool]]) -> None:
    open_ = OpenRequests(Keys(), Answers("test"), time.time, lambda key: True, PLACES)
    exchange: Any = object()
    held: list[Record] = []
    for key_id, ends in steps:
        mine = [each for each in held if each.key_id == key_id]
        if not ends:
            record, fits = record_of(key_id), has_place(len(mine), len(held), PLACES)
            assert overloaded(lambda record=record: open_.add(record, exchange, None)) != fits
            held += [record] if fits else []
        else:
            # The end of one that never began, or that has ended before, is no end.
            record = mine[0] if mine else record_of(key_id)
            held = [each for each in held if each is not record]
            for _ in range(2):
                open_.remove(record)
                assert len(open_) == len(held)
        assert len(open_) == len(held)
        assert open_.in_flight() == dict(Counter(each.key_id for each in held if each.key_id))
        assert overloaded(open_.require_place) == (len(held) == PLACES)


def with_secrets(plane: Plane, *, of_request: str, other: str) -> None:
    """Another secret of the key comes first, and both are in these states."""
    found = plane.keys.found[plane.key.encode()]
    secrets = (
        msgspec.structs.replace(found.secret, id="sec_other", state=other),
        msgspec.structs.replace(found.secret, state=of_request),
    )
    plane.keys.change(plane.key, secrets=secrets)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda plane: plane.keys.change(plane.key, name="renamed"), ""),
        (lambda plane: plane.keys.change(plane.key, revoked_at=time.time()), "api_key_revoked"),
        (lambda plane: plane.keys.change(plane.key, disabled=True), "api_key_disabled"),
        (lambda plane: plane.keys.change(plane.key, secrets=()), "api_key_revoked"),
        (lambda plane: plane.keys.found.clear(), "api_key_revoked"),
        (lambda plane: with_secrets(plane, of_request="current", other="revoked"), ""),
        (lambda plane: with_secrets(plane, of_request="revoked", other="current"), "api_key_rotated"),
        (lambda plane: plane.keys.change(plane.key, revoked_at=time.time(), enforcement="shadow"), "api_key_revoked"),
    ],
)
async def test_who_is_cut_when_a_key_changes(
    change: Callable[[Plane], object], code: str, named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sidecar.worker.open_requests")
    asked = asyncio.Event()

    async def late(side: HubSide) -> None:
        await asked.wait()
        await side.send(RawHub.OK)

    async with running() as plane:
        plane.hub.answer = late
        key_id = plane.keys.found[plane.key.encode()].key.id
        reader, writer = await plane.open()
        writer.write(plane.post(b"{}"))
        await until(lambda: plane.hub.seen)
        change(plane)
        plane.plane.open.key_changed(key_id if named else None)
        checks = plane.plane.open._checks
        assert len(checks) == 1, "nothing else holds the task"
        await until(lambda: not checks)
        asked.set()
        received = await asyncio.wait_for(reader.read(-1), 10)
        assert received.startswith(b"HTTP/1.1 401 " if code else b"HTTP/1.1 200 ") and code.encode() in received
        (event,) = await plane.event()
        assert (event.reason, event.ending) == (code, "revoked" if code else "complete")
        logged = [record.getMessage() for record in caplog.records if record.name == "sidecar.worker.open_requests"]
        assert logged == ([f"cut request {event.request_id} of key {key_id}: {code}"] if code else [])


async def test_a_change_is_not_forgotten_while_the_store_cannot_be_asked() -> None:
    """It may be slow for a moment only, which those who report changes need not notice: nobody reports it again."""
    async with running() as plane:
        plane.hub.answer = endless
        key_id = plane.keys.found[plane.key.encode()].key.id
        reader, writer = await plane.open()
        writer.write(plane.get())
        await reader.readuntil(b"1\r\nx\r\n")
        plane.keys.change(plane.key, revoked_at=time.time())
        plane.keys.away = True
        for _ in range(3):
            plane.plane.open.key_changed(key_id)
            await asyncio.sleep(0)
        assert len(plane.plane.open._checks) == 1, "one question is enough"
        assert not plane.events.requests, "open streams go on"
        plane.keys.away = False
        (event,) = await plane.event()
        assert (event.outcome, event.reason, event.ending) == ("denied", "api_key_revoked", "revoked")
        assert not plane.plane.open._checks


async def test_a_change_between_the_stores_answer_and_the_request_is_not_missed() -> None:
    """What the store has said and the report of a change come on two connections, so in any order."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async with running() as plane:
        plane.hub.answer = endless
        found = plane.keys.found[plane.key.encode()]

        async def slow(_token: bytes) -> Found | None:
            asked.set()
            await answered.wait()
            return found

        plane.keys.resolve = slow  # type: ignore[method-assign]
        plane.keys.cold.add(plane.key.encode())
        _, writer = await plane.open()
        writer.write(plane.get())
        await asked.wait()
        plane.plane.open.key_changed(plane.keys.change(plane.key, revoked_at=time.time()).id)
        answered.set()
        (event,) = await plane.event()
        assert (event.outcome, event.reason, event.ending) == ("denied", "api_key_revoked", "revoked")


async def test_who_has_left_is_looked_for_no_more() -> None:
    async with running() as plane:
        plane.hub.answer = endless
        reader, writer = await plane.open()
        writer.write(plane.get())
        await reader.readuntil(b"1\r\nx\r\n")
        plane.keys.away = True
        plane.plane.open.key_changed(None)
        writer.transport.abort()
        await until(lambda: not plane.plane.open._checks)


async def test_only_the_key_that_changed_is_looked_at() -> None:
    async def silent(side: HubSide) -> None:
        await side.reader.read(1)

    async with running(profile="aigne") as plane:
        plane.hub.answer = silent
        tokens = [plane.key, plane.keys.issue()]
        for raw in (
            *(plane.get("/api/v2/status", key=token) for token in tokens),
            b"GET /api/ai-providers/models HTTP/1.1\r\nHost: a\r\n\r\n",
        ):
            _, writer = await plane.open()
            writer.write(raw)
        await until(lambda: len(plane.hub.seen) == 3)
        ids = [plane.keys.found[token.encode()].key.id for token in tokens]
        for changed, looks in ((None, 2), (ids[0], 1), (ids[1], 1), ("key_unknown", 0)):
            plane.plane.open.key_changed(changed)
            assert len(plane.plane.open._checks) == looks
            await until(lambda: not plane.plane.open._checks)
        assert len(plane.plane.open) == 3


async def test_when_any_key_may_have_changed_few_are_read_at_a_time() -> None:
    """Thousands that asked at once had no answer within its 250 ms, asked again together, and held all else up."""
    asking: set[str] = set()
    most: list[int] = []

    class Source:
        async def current(self, key_id: str) -> None:
            asking.add(key_id)
            most.append(len(asking))
            await asyncio.sleep(0)
            asking.remove(key_id)

    open_ = OpenRequests(Source(), Answers("test"), time.time, lambda key: False, 10 * READ_AT_ONCE)
    exchange: Any = object()
    for number in range(5 * READ_AT_ONCE):
        open_.add(record_of(f"key_{number}"), exchange, None)
    open_.key_changed(None)
    await until(lambda: not open_._checks)
    assert len(most) == 5 * READ_AT_ONCE and max(most) == READ_AT_ONCE


class Clock:
    """Unix seconds that stand still until they are told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (lambda plane: plane.keys.change(plane.key, expires_at=1_010.0), "api_key_expired"),
        (lambda plane: retire(plane, until=1_010.0), "api_key_rotated"),
    ],
)
async def test_what_ends_by_itself_is_cut_though_nobody_reports_a_change(ends: Callable[[Plane], object], code: str) -> None:
    clock = Clock()
    async with running(wall_clock=clock) as plane:
        plane.hub.answer = endless
        ends(plane)
        reader, writer = await plane.open()
        writer.write(plane.get())
        await reader.readuntil(b"1\r\nx\r\n")
        clock.now = 1_009.9
        plane.plane.open.tick()
        assert not plane.plane.open._checks
        clock.now = 1_010.0
        plane.plane.open.tick()
        (event,) = await plane.event()
        assert (event.outcome, event.reason, event.ending) == ("denied", code, "revoked")
        assert not plane.plane.open._ends


def retire(plane: Plane, until: float) -> None:
    found = plane.keys.found[plane.key.encode()]
    secret = msgspec.structs.replace(found.secret, state="retiring", expires_at=until)
    plane.keys.found[plane.key.encode()] = Found(plane.keys.change(plane.key, secrets=(secret,)), secret)


async def test_an_end_that_was_put_off_is_waited_for() -> None:
    clock = Clock()
    async with running(wall_clock=clock) as plane:
        plane.hub.answer = endless
        plane.keys.change(plane.key, expires_at=1_010.0)
        reader, writer = await plane.open()
        writer.write(plane.get())
        await reader.readuntil(b"1\r\nx\r\n")
        key = plane.keys.change(plane.key, expires_at=1_020.0)
        clock.now = 1_010.0
        plane.plane.open.tick()
        await until(lambda: not plane.plane.open._checks)
        assert not plane.events.requests and plane.plane.open._ends == {key.id: 1_020.0}
        clock.now = 1_020.0
        plane.plane.open.tick()
        (event,) = await plane.event()
        assert event.reason == "api_key_expired"


async def test_an_end_that_was_set_meanwhile_is_kept() -> None:
    clock = Clock()
    async with running(wall_clock=clock) as plane:
        plane.hub.answer = endless
        reader, writer = await plane.open()
        writer.write(plane.get())
        await reader.readuntil(b"1\r\nx\r\n")
        plane.plane.open.key_changed(plane.keys.change(plane.key, expires_at=1_010.0).id)
        await until(lambda: not plane.plane.open._checks)
        clock.now = 1_010.0
        plane.plane.open.tick()
        (event,) = await plane.event()
        assert (event.reason, event.ending) == ("api_key_expired", "revoked")
