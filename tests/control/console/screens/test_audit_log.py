"""The audit log: filters, the check of its chain, export."""

from __future__ import annotations

import json
import re

import pytest

from sidecar.control.audit import pace, reading
from sidecar.store import names
from tests.control.console.conftest import Console


async def test_events_filters_and_export(console: Console) -> None:
    key_id, secret = await console.create("Support bot")
    browser = await console.signed_in("viewer")
    page = await browser.get(f"/audit-log?target={key_id}")
    assert "api_key.created" in page.text and "session.started" not in page.text and "Support bot" in page.text
    assert "session.started" in (await browser.get("/audit-log?action=session")).text
    assert "No events." in (await browser.get("/audit-log?outcome=failure")).text
    lines = (await browser.get(f"/audit-log/export.jsonl?target={key_id}")).text.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["api_key.created"]
    assert secret not in "".join(lines) + page.text


async def test_a_refused_filter_is_told_at_its_field(console: Console) -> None:
    browser = await console.signed_in("viewer")
    page = await browser.get("/audit-log?outcome=denied&from=soon&target=" + "x" * 129)
    assert page.status == 400 and "No events." not in page.text and "<option selected>denied</option>" in page.text
    for field in ("from", "target"):
        assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page.text)
    assert re.search(r'id="from"[^>]*value="soon"', page.text) and "Must be a date and a time." in page.text
    assert (await browser.get("/audit-log?cursor=x")).status == 400


async def test_nobody_is_said_once(console: Console) -> None:
    await console.browser().post("/sign-in", {"token": "sat_wrong"})
    page = await (await console.signed_in("viewer")).get("/audit-log?outcome=denied")
    assert "<td>nobody</td>" in page.text and '<span class="quiet">nobody</span>' not in page.text


async def test_a_switch_is_told_in_words(console: Console) -> None:
    key_id, _ = await console.create()
    browser = await console.signed_in("operator")
    await browser.post(f"/settings/api-keys/{key_id}/disable")
    page = await browser.get(f"/audit-log?target={key_id}")
    assert "disabled: yes" in page.text


async def test_a_search_that_stopped_says_that_it_goes_on(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST", 2)
    monkeypatch.setattr(pace, "MOST", 2)
    monkeypatch.setattr(reading, "SCAN_BOUND", 2)
    browser = await console.signed_in("viewer")
    for number in range(4):
        await console.create(f"key {number}")
    path, stopped = "/audit-log?action=anomaly", 0
    while path:
        page = await browser.get(path)
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = following[1].replace("&amp;", "&") if following else ""
        stopped += "the search goes on with the next one" in page.text
    assert stopped > 1 and "No events." in page.text


async def test_a_chain_that_nothing_is_known_of_is_told_to_be_so(console: Console) -> None:
    await console.create()
    browser = await console.signed_in("viewer")
    assert "but no head of the log is known here yet" in (await browser.get("/audit-log?verify=yes")).text
    await console.services.audit.settle()
    assert "no head" not in (await browser.get("/audit-log?verify=yes")).text


async def test_a_broken_chain_is_told(console: Console) -> None:
    await console.create()
    browser = await console.signed_in("viewer")
    assert "The chain is whole" in (await browser.get("/audit-log?verify=yes")).text
    await console.store.call("XDEL", names.AUDIT, "1-0")
    page = await browser.get("/audit-log?verify=yes")
    assert "The chain is broken" in page.text and "at event 1" in page.text


async def test_a_page_that_refreshes_itself_does_not_read_the_whole_log_again(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await console.signed_in("viewer")
    verify, checks = console.services.audit.verify, 0

    async def counted() -> reading.Verdict:
        nonlocal checks
        checks += 1
        return await verify()

    monkeypatch.setattr(console.services.audit, "verify", counted)
    assert "The chain is whole" in (await browser.get("/audit-log?verify=yes")).text
    assert (await browser.get("/audit-log?verify=yes", X_Sidecar_Live="1")).status == 200
    assert checks == 1
