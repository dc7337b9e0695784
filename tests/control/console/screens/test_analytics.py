"""Analytics: totals, comparison, rankings and charts are one set of numbers."""

from __future__ import annotations

import csv
import io
import re

from sidecar.events.record import Request
from tests.control.console.conftest import Console
from tests.control.support.events import denied, request


def total(text: str, name: str) -> tuple[str, str]:
    found = re.search(rf'<dt>{name}</dt><dd><span class="value">([^<]*)</span> <span class="against">([^<]*)</span>', text)
    assert found
    return found[1], found[2]


async def test_everything_adds_up(console: Console) -> None:
    first, _ = await console.create("busy")
    second, _ = await console.create("quiet")
    now = console.clock()
    earlier = [request(first, time=now - 5000) for _ in range(10)]
    lately = [request(first, time=now - 600, model="m-one") for _ in range(16)] + [
        request(second, time=now - 60, model="m-two") for _ in range(4)
    ]
    await console.fold(*earlier, *lately, *[denied(second, "ip_not_allowed", time=now - 30) for _ in range(5)])
    page = await (await console.signed_in("viewer")).get("/analytics?range=1h")
    assert total(page.text, "Requests") == ("25", "+150%")
    assert total(page.text, "Refused") == ("20.0%", "")
    assert total(page.text, "Input tokens")[0] == str(20 * 12)
    keys = page.text[page.text.index('id="top-keys"') :]
    assert keys.index(">busy<") < keys.index(">quiet<")
    assert "ip_not_allowed" in page.text and "m-one" in page.text
    # The table behind the first chart: 20 ok, 5 denied, and their sum.
    table = page.text[page.text.index('id="requests"') :]
    rows = re.findall(
        r'<th scope="row">[^<]*</th><td class="number">(\d+)</td><td class="number">(\d+)</td><td class="number">(\d+)</td>', table
    )
    assert [sum(map(int, column)) for column in zip(*rows[:60], strict=True)] == [20, 5, 25]


async def test_shares_are_compared_with_shares(console: Console) -> None:
    key_id, _ = await console.create("busy")
    now = console.clock()

    def both(time: float, served: int, refused: int) -> list[Request]:
        return [request(key_id, time=time) for _ in range(served)] + [denied(key_id, "ip_not_allowed", time=time) for _ in range(refused)]

    await console.fold(*both(now - 5000, 8, 2), *both(now - 600, 32, 8))
    page = await (await console.signed_in("viewer")).get("/analytics?range=1h")
    assert total(page.text, "Requests") == ("40", "+300%")
    # Four times as many, of four times as many.
    assert total(page.text, "Refused") == ("20.0%", "±0%")


async def test_no_use_is_said_once(console: Console) -> None:
    key_id, _ = await console.create("busy")
    browser = await console.signed_in("viewer")
    page = (await browser.get("/analytics?range=1h")).text
    # What is hidden is there for a page that stays open.
    assert re.findall(r'<(?:p|figure|section) [^>]*id="[\w-]+"[^>]*data-live>', page) == ['<p class="nothing" id="nothing" data-live>']
    await console.fold(request(key_id, time=console.clock() - 60))
    page = (await browser.get("/analytics?range=1h")).text
    assert re.findall(r"<(?:p|figure|section) [^>]* hidden>", page) == ['<p class="nothing" id="nothing" data-live hidden>']


async def test_spans_can_be_chosen_and_nonsense_is_the_usual_one(console: Console) -> None:
    browser = await console.signed_in("viewer")
    for query in ("", "range=7d", "range=90d", "from=2026-01-01T00:00&to=2026-01-02T00:00", "range=x", "from=x&to=y", "from=2030-01-01"):
        assert (await browser.get(f"/analytics?{query}")).status == 200, query


async def test_the_export_is_by_model(console: Console) -> None:
    key_id, _ = await console.create()
    await console.fold(*[request(key_id, time=console.clock() - 60, model="=cmd") for _ in range(3)])
    browser = await console.signed_in("viewer")
    link = re.search(r'href="(/analytics/export.csv[^"]+)"', (await browser.get("/analytics")).text)
    assert link
    page = await browser.get(link[1].replace("&amp;", "&"))
    (row,) = list(csv.DictReader(io.StringIO(page.text)))
    assert (row["by"], row["requests"]) == ("'=cmd", "3")
