"""A key's page: facts, use, secrets, signals, calls and trail, all of this key and of no other."""

from __future__ import annotations

from tests.control.console.conftest import Console
from tests.control.support.events import request

HOSTILE = "<script>alert(1)</script>"


async def test_the_page_shows_what_there_is(console: Console) -> None:
    key_id, _ = await console.create("Support bot", owner="support", rpm="60")
    other, _ = await console.create("other")
    now = console.clock()
    key = await console.services.keys.get(key_id)
    assert key is not None
    mine = {"time": now - 30, "secret_id": key.secrets[0].id, "agent": HOSTILE, "model": HOSTILE, "client": "203.0.113.9"}
    await console.fold(*[request(key_id, **mine) for _ in range(7)], *[request(other, time=now - 20, model="strange") for _ in range(5)])
    console.services.anomalies.anomaly.key_id = key_id  # type: ignore[union-attr]
    page = await (await console.signed_in()).get(f"/settings/api-keys/{key_id}?range=1h")
    assert page.status == 200 and "<script>alert" not in page.text and "strange" not in page.text
    for part in ("Support bot", key_id, "60 requests a minute", "203.0.113.9", "first use from", "api_key.created", "7 calls"):
        assert part in page.text.replace("&lt;", "<"), part
    # Seven requests: in the chart's table, in the ranking of models, with the secret.
    assert page.text.count('<td class="number">7</td>') >= 3


async def test_a_key_without_use_says_so(console: Console) -> None:
    key_id, _ = await console.create()
    page = await (await console.signed_in("viewer")).get(f"/settings/api-keys/{key_id}")
    assert page.text.count("Nothing in this time.") >= 6 and "No calls." in page.text
