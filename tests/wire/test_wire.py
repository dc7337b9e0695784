"""Every hostile request comes to its expected end: over TCP, over a unix socket, in pieces, and behind a good request."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.wire.cases import KEY, SMUGGLED, Case, all_cases
from tests.worker.plane import Plane, running

CASES = all_cases()
QUIET = 0.15
"""Seconds without a byte after which a connection that may stay open counts as answered."""
PLANES = 6
"""How many data planes share the cases: most of a case is waiting for time limits."""
FAST = {"SIDECAR_PROXY__TIMEOUTS__HEADER": "1s", "SIDECAR_PROXY__TIMEOUTS__BODY_IDLE": "1s"}
PATIENT = FAST | {"SIDECAR_PROXY__TIMEOUTS__HEADER": "10s"}
"""For heads that come byte by byte: a busy machine takes a second for a thousand."""


async def send(plane: Plane, pieces: list[bytes], *, closes: bool, answers: int = 1) -> tuple[bytes, bool]:
    """Everything that came back, and whether the sidecar closed; one that need not close has `answers` to give."""
    reader, writer = await plane.open()
    received = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        while True:
            data = await asyncio.wait_for(reader.read(65_536), 30 if closes or received.count(b"HTTP/1.1 ") < answers else QUIET)
            if not data:
                return received, True
            received += data
    except TimeoutError:
        return received, False
    except ConnectionError:
        return received, True
    finally:
        writer.transport.abort()


def judge(case: Case, plane: Plane, received: bytes, closed: bool, *, before: int = 0) -> list[str]:
    faults = []
    answers = received.split(b"HTTP/1.1 ")[1:]
    status = int(answers[before][:3]) if len(answers) > before else None
    if status not in case.statuses:
        faults.append(f"status {status}, wanted one of {case.statuses}")
    if case.closes and not closed:
        faults.append("the connection stayed open")
    if plane.key.encode() in received:
        faults.append("the key came back")
    seen = plane.hub.seen[before:]
    if case.kind == "reject" and seen:
        faults.append("a request reached the hub")
    if case.kind == "abort" and any(side.complete for side in seen):
        faults.append("a complete request reached the hub")
    if case.kind == "clean" and len(seen) != 1:
        faults.append(f"{len(seen)} requests reached the hub")
    reached = b"".join(side.head + side.body for side in seen)
    faults += [f"{absent!r} reached the hub" for absent in case.absent if absent.replace(KEY, plane.key.encode()) in reached]
    return faults


async def run(cases: list[Case], plane: Plane, *, step: int = 0, behind_a_good_one: bool = False) -> dict[str, list[str]]:
    failed = {}
    for case in cases:
        plane.hub.seen.clear()
        raw = case.raw.replace(KEY, plane.key.encode())
        if behind_a_good_one:
            raw = plane.get("/first", close=False) + raw
        pieces = [raw[start : start + step] for start in range(0, len(raw), step)] if step else [raw]
        received, closed = await send(plane, pieces, closes=case.closes, answers=1 + behind_a_good_one)
        faults = judge(case, plane, received, closed, before=int(behind_a_good_one))
        if faults:
            failed[case.name] = faults
    return failed


async def run_all(cases: list[Case], *, unix: Path | None = None, step: int = 0, behind_a_good_one: bool = False) -> dict[str, list[str]]:
    """All cases, dealt out to planes that run side by side; `unix` is the folder of their sockets."""
    environment = PATIENT if step else FAST

    async def part(number: int) -> dict[str, list[str]]:
        async with running(environment=environment, unix=unix and unix / str(number)) as plane:
            return await run(cases[number::PLANES], plane, step=step, behind_a_good_one=behind_a_good_one)

    failed = {}
    for found in await asyncio.gather(*map(part, range(PLANES))):
        failed |= found
    return failed


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 300


async def test_over_tcp() -> None:
    assert await run_all(CASES) == {}


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    assert await run_all(CASES, unix=tmp_path) == {}


@pytest.mark.parametrize("step", [1, 7, 64])
async def test_in_pieces(step: int) -> None:
    assert await run_all([case for case in CASES if len(case.raw) < 2000], step=step) == {}


async def test_behind_a_good_request_on_the_same_connection() -> None:
    assert await run_all(CASES, behind_a_good_one=True) == {}


async def test_pipelined_requests_are_each_judged() -> None:
    async with running() as plane:
        received, _ = await send(
            plane, [plane.get(close=False) + b"GET /smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n"], closes=False, answers=2
        )
        assert received.count(b"HTTP/1.1 200") == 1 and received.count(b"HTTP/1.1 401") == 1
        assert [side.request_line for side in plane.hub.seen] == ["GET /v1/models HTTP/1.1"]
        good = SMUGGLED.replace(KEY, plane.key.encode())
        received, _ = await send(plane, [good * 5], closes=False, answers=5)
        assert received.count(b"HTTP/1.1 200") == 5


@pytest.mark.parametrize(
    "target", [b"/v1/a%2Fb;x=1?q=%2F&r[]=~%7e&&", b"/v1/caf%C3%A9?x=a+b%20c", b"/v1/models/openai%2fgpt-5?", b"/a/b/", b"/%41"]
)
async def test_good_targets_arrive_byte_for_byte(target: bytes) -> None:
    async with running() as plane:
        await plane.exchange(plane.get(target.decode()))
        assert plane.hub.seen[0].request_line == f"GET {target.decode()} HTTP/1.1"
