from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from sidecar.control.reconcile.hub_ledger import HubLedger, LedgerUnavailable
from sidecar.control.reconcile.match import SLACK, by_request
from sidecar.demo.access_key import ACCESS_KEY
from sidecar.events.record import NO_TOKENS, sum_of
from sidecar.hubs.load import load_profile
from sidecar.settings import declaration
from sidecar.settings.values import HubUrl, Secret
from tests.control.support.events import key_id, request
from tests.support.hub import DemoHub, running_hub

A, B = key_id(1), key_id(2)


@pytest.fixture
async def demo() -> AsyncIterator[DemoHub]:
    async with running_hub() as hub:
        yield hub


def ledger_of(hub: DemoHub, key: str = ACCESS_KEY) -> HubLedger:
    return HubLedger(declaration.Hub(url=HubUrl.parse(hub.url), access_key=Secret(key)), load_profile("aigne"))


async def test_the_demo_hubs_ledger_is_read_page_by_page(demo: DemoHub) -> None:
    ledger = demo.aigne.ledger
    for number in range(250):
        ledger.add(f"{A}@sidecar", f"req_{number}", "/chat", "chatCompletion", "m", 1, 2)
    ledger.add(f"{B}@sidecar", "other", "/chat", "chatCompletion", "m", 1, 2)
    listing = await ledger_of(demo).calls(A, time.time() - 60)
    assert listing.complete and {entry.request_id for entry in listing.entries} == {f"req_{number}" for number in range(250)}
    with pytest.raises(LedgerUnavailable, match="status 401"):
        await ledger_of(demo, "wrong").calls(A, 0)
    await demo.stop()
    with pytest.raises(LedgerUnavailable):
        await ledger_of(demo).calls(A, 0)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"list":[', b"[]", b"\xff", b'{"list":[{"callTime":1e999,"usageMetrics":[]}]}'])
async def test_an_answer_that_is_no_list_ends_nothing(body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        peer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await peer.drain()
        peer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        hub = declaration.Hub(url=HubUrl.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), access_key=Secret("k"))
        with suppress(LedgerUnavailable):
            assert not any(entry.final for entry in (await HubLedger(hub, load_profile("aigne")).calls(A, 1)).entries)


@pytest.mark.parametrize("behind", [3, 30, 600])
async def test_a_hub_whose_clock_is_behind_is_understood(demo: DemoHub, behind: int) -> None:
    call = request(A, time=time.time() - 60, tokens=NO_TOKENS, usage_source="none", total=1.0)
    listed = demo.aigne.ledger.add(f"{A}@sidecar", call.request_id, "/chat", "chatCompletion", "m", 1, 2)
    listed["callTime"] = int(call.time - call.total) - behind
    found = await ledger_of(demo).calls(A, call.time - call.total - SLACK)
    assert sum_of(entry.tokens for entry in by_request(found.entries)[call.request_id]).output == 2


@pytest.mark.parametrize(("age", "pages"), [(90, 3), (150, 1)])
async def test_a_list_is_read_until_a_minute_before_what_is_sought(
    demo: DemoHub, monkeypatch: pytest.MonkeyPatch, age: int, pages: int
) -> None:
    now = int(time.time())
    document = [{"id": str(number), "requestId": f"req_{number}", "callTime": now - age} for number in range(250)]
    asked = listing(demo, monkeypatch, document)
    found = await ledger_of(demo).calls(A, now - 60)
    assert found.complete and asked == list(range(1, pages + 1))
    assert len(found.entries) == min(250, 100 * pages), "what has been read may be what is sought"


@pytest.mark.parametrize("odd", [None, 7, {}, {"callTime": None}, {"callTime": -1}])
@pytest.mark.parametrize("place", [0, 50, 99])
async def test_a_page_with_something_odd_is_not_the_last(demo: DemoHub, monkeypatch: pytest.MonkeyPatch, odd: object, place: int) -> None:
    now = int(time.time())
    document: list[object] = [{"id": str(number), "requestId": f"req_{number}", "callTime": now} for number in range(150)]
    document.insert(place, odd)
    asked = listing(demo, monkeypatch, document)
    found = await ledger_of(demo).calls(A, now - 60)
    assert found.complete and asked == [1, 2]
    assert {entry.request_id for entry in found.entries} == {"", *(f"req_{number}" for number in range(150))}


def listing(demo: DemoHub, monkeypatch: pytest.MonkeyPatch, document: list[object]) -> list[int]:
    """Have the hub list `document`; returns the pages that are asked for."""
    asked: list[int] = []

    def page(_ledger: object, _app: str | None, number: int, size: int) -> dict[str, object]:
        asked.append(number)
        return {"list": document[(number - 1) * size : number * size]}

    monkeypatch.setattr(type(demo.aigne.ledger), "page", page)
    return asked


async def test_a_call_that_moves_to_the_next_page_while_it_is_read_is_listed_once(demo: DemoHub, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = demo.aigne.ledger
    for number in range(150):
        ledger.add(f"{A}@sidecar", f"req_{number}", "/chat", "chatCompletion", "m", 1, 2)
    page = ledger.page

    def busy(app: str | None, number: int, size: int) -> dict[str, object]:
        listed = page(app, number, size)
        ledger.add(f"{A}@sidecar", f"later_{number}", "/chat", "chatCompletion", "m", 1, 2)
        return listed

    monkeypatch.setattr(type(ledger), "page", lambda _, *query: busy(*query))
    listing = await ledger_of(demo).calls(A, time.time() - 60)
    assert sorted(entry.request_id for entry in listing.entries) == sorted(f"req_{number}" for number in range(150))
