"""The call log: filters, pages, export, hostile agents."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest

from sidecar.control.console.screens import calls as screen
from sidecar.control.console.screens.calls import asked
from tests.control.console.conftest import Console
from tests.control.support.events import denied, request


async def test_filters_pages_and_export(console: Console) -> None:
    key_id, _ = await console.create("caller")
    now = console.clock()
    ok = [request(key_id, time=now - 100 - number, agent="<script>alert(1)</script>") for number in range(screen.PAGE)]
    await console.fold(*ok, denied(time=now - 10), request(key_id, time=now - 7200, outcome="hub_error", status=502))
    browser = await console.signed_in("viewer")
    page = await browser.get("/calls")
    assert "<script>alert" not in page.text and "no known key" in page.text and ">caller<" in page.text
    following = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert following
    page = await browser.get(following[1].replace("&amp;", "&"))
    assert page.text.count("<code>req_") == 2
    page = await browser.get(f"/calls?key={key_id}&outcome=hub_error")
    assert page.text.count("<code>req_") == 1 and "502" in page.text
    moment = datetime.fromtimestamp(now - 3600, UTC).strftime("%Y-%m-%dT%H:%M")
    assert (await browser.get(f"/calls?to={moment}")).text.count("<code>req_") == 1
    assert len((await browser.get("/calls/export.csv")).text.splitlines()) == screen.PAGE + 3
    assert (await browser.get("/calls?cursor=nonsense")).status == 400


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ("key=shop", "key", "Does not have the right form: Id of a key: key_ and 16 letters or digits."),
        ("from=2026-02-01T00:00&to=2026-01-01T00:00", "to", "Must not be before from."),
        ("to=soon", "to", "Must be a date and a time."),
    ],
)
async def test_a_refused_filter_is_told_at_its_field(console: Console, query: str, field: str, sentence: str) -> None:
    page = await (await console.signed_in("viewer")).get(f"/calls?outcome=ok&{query}")
    assert page.status == 400 and "No calls." not in page.text and '<option value="ok" selected>' in page.text
    for name, value in parse_qsl(query):
        assert re.search(rf'id="{name}"[^>]*value="{value}"', page.text)
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page.text)
    assert re.search(rf'id="{field}-note"[^>]*><strong role="alert">{sentence}', page.text)


def test_a_form_s_moment_is_in_utc() -> None:
    assert asked({"from": "2026-01-31T13:05", "outcome": "ok"}) == {"from": "2026-01-31T13:05:00Z", "outcome": "ok"}
    assert asked({"to": "2026-01-31T13:05:09+02:00"}) == {"to": "2026-01-31T13:05:09+02:00"}
