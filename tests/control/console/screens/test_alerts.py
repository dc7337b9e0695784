"""Alerts: evidence, and what an operator says to them; the way back never leaves the console."""

from __future__ import annotations

import html
import re

import pytest

from sidecar.control.audit import Filter
from sidecar.control.queries import Anomalies
from tests.control.console.conftest import Console, Suspicions


async def test_alerts_show_their_evidence(console: Console) -> None:
    browser = await console.signed_in("viewer")
    page = await browser.get("/alerts")
    assert "first use from 203.0.113.0/24" in page.text and "new_network, still seen" in page.text and "score 7" in page.text
    assert "No alerts here." in (await browser.get("/alerts?state=acknowledged")).text
    assert "No open alerts." in (await browser.get("/alerts?key=key_0")).text


async def test_the_tabs_keep_what_the_list_is_narrowed_to(console: Console) -> None:
    page = await (await console.signed_in("viewer")).get("/alerts?state=open&level=warn&key=key_0")
    assert 'href="/alerts?state=closed&amp;level=warn&amp;key=key_0"' in page.text


@pytest.mark.parametrize("path", ["/alerts", "/alerts?state=open&level=page&key=key_AAAAAAAAAAAAAAAA"])
async def test_an_act_leads_back_to_the_list_as_it_was_narrowed_to(console: Console, path: str) -> None:
    browser = await console.signed_in("operator")
    back = re.search(r'name="back" value="([^"]+)"', (await browser.get(path)).text)
    assert back
    page = await browser.post("/alerts/ano_1/mute", {"duration": "24h", "back": html.unescape(back[1])})
    assert page.location == f"{path}{'&' if '?' in path else '?'}done=muted"
    assert "Alert muted." in (await browser.get(page.location)).text


@pytest.mark.parametrize("act", ["acknowledge", "mute"])
async def test_the_address_of_a_refused_act_leads_to_the_list(console: Console, act: str) -> None:
    page = await (await console.signed_in("operator")).get(f"/alerts/ano_1/{act}")
    assert (page.status, page.location) == (303, "/alerts")


async def test_a_search_that_stopped_says_that_it_goes_on(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    async def anomalies(**_: object) -> Anomalies:
        return Anomalies([], "1000.000000:ano_1")

    monkeypatch.setattr(console.services.anomalies, "anomalies", anomalies)
    page = await (await console.signed_in("viewer")).get("/alerts?state=acknowledged")
    assert "the search goes on with the next one" in page.text and "cursor=1000.000000" in page.text


async def test_only_what_is_muted_can_be_unmuted(console: Console) -> None:
    suspicions = console.services.anomalies
    assert isinstance(suspicions, Suspicions)
    browser = await console.signed_in("operator")
    for muted_until, muted in ((None, False), (console.clock() - 1, False), (console.clock() + 3600, True)):
        suspicions.anomaly.muted_until = muted_until
        page = await browser.get("/alerts")
        assert (">Unmute<" in page.text, "count again" in page.text) == (muted, muted) and "no longer" not in page.text
    unmute = re.search(r'<form [^>]*action="/alerts/ano_1/mute">(?:(?!</form>).)*>Unmute<', page.text, re.DOTALL)
    assert unmute and 'name="duration" value="0s"' in unmute[0]


async def test_an_operator_acknowledges_and_mutes(console: Console) -> None:
    suspicions = console.services.anomalies
    assert isinstance(suspicions, Suspicions)
    browser = await console.signed_in("operator")
    page = await browser.post("/alerts/ano_1/acknowledge", {"reason": "our new office", "back": "/settings/api-keys/key_1"})
    assert page.location == "/settings/api-keys/key_1?done=acknowledged"
    page = await browser.post("/alerts/ano_1/mute", {"reason": "known", "duration": "7d", "back": "//evil.example"})
    assert page.location == "/settings/api-keys?done=muted"
    assert (await browser.post("/alerts/ano_1/mute", {"duration": "0s", "back": "/alerts"})).location == "/alerts?done=unmuted"
    acknowledged, muted, unmuted = suspicions.asked
    assert acknowledged == ("acknowledge", "ano_1", "our new office")
    assert [(*act, round((until - console.clock()) / 3600)) for *act, until in (muted, unmuted)] == [
        ("mute", "ano_1", 7 * 24),
        ("mute", "ano_1", 0),
    ]
    recorded = (await console.services.audit.query(Filter(action="anomaly.muted"), 10)).events
    assert [sealed.event.reason for sealed in recorded] == ["", "known"], "newest first"
    assert (await browser.post("/alerts/ano_2/acknowledge", {"reason": ""})).status == 404
    assert (await browser.post("/alerts/ano_1/mute", {"duration": "x"})).status == 400


@pytest.mark.parametrize(("act", "fields"), [("acknowledge", {}), ("mute", {"duration": "7d"})])
async def test_a_refused_reason_comes_back_with_what_is_wrong(console: Console, act: str, fields: dict[str, str]) -> None:
    suspicions = console.services.anomalies
    assert isinstance(suspicions, Suspicions)
    browser = await console.signed_in("operator")
    page = await browser.post(f"/alerts/ano_1/{act}", {"reason": "tab\there", "back": "/settings/api-keys/key_1", **fields})
    assert page.status == 400 and suspicions.asked == []
    assert re.search(r'id="reason"[^>]*value="tab\there"[^>]*aria-invalid="true"', page.text)
    assert "up to 500 printable characters" in page.text and 'name="back" value="/settings/api-keys/key_1"' in page.text
    assert ('name="duration" value="7d"' in page.text) == bool(fields) and f'action="/alerts/ano_1/{act}"' in page.text
