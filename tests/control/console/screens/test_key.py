"""A key's page: facts, use, secrets, signals, calls and trail, all of this key and of no other."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from sidecar.control.console.screens.key import MORE_PAGES
from sidecar.control.usage import calls as call_log
from sidecar.control.usage.blocks import key_mask
from sidecar.keys.record import Limits
from sidecar.store.names import shard_of
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


async def test_one_of_anything_is_one(console: Console) -> None:
    limits = {"rpm": "1", "tpm": "1", "quota_requests": "1", "quota_tokens": "1", "quota_period": "day"}
    key_id, _ = await console.create("once", **limits)
    await console.fold(request(key_id, time=console.clock() - 30))
    page = await (await console.signed_in()).get(f"/settings/api-keys/{key_id}?range=1h")
    for part in ("1 request a minute", "1 token a minute", "1 request and 1 token each day", "latest 1 call of", "latest 1 call in"):
        assert part in page.text, part


async def test_a_limit_that_is_not_enforced_is_not_shown_as_one_that_is(console: Console) -> None:
    key_id, _ = await console.create("watched", rpm="60", tpm="9", quota_requests="5")
    modes = Limits(60, 9, enforcement={"rpm": "shadow", "quota": "off"})
    await console.services.keys.update(key_id, lambda key: replace(key, limits=modes))
    page = await (await console.signed_in("viewer")).get(f"/settings/api-keys/{key_id}")
    for part in ("60 requests a minute, only watched (shadow). 9 tokens a minute. ", "5 requests each month (UTC), off</dd>"):
        assert part in page.text, part


async def test_a_key_without_use_says_so(console: Console) -> None:
    key_id, _ = await console.create()
    page = await (await console.signed_in("viewer")).get(f"/settings/api-keys/{key_id}")
    assert page.text.count("Nothing in this time.") >= 6 and "No calls." in page.text


@pytest.mark.parametrize("blocks", [MORE_PAGES - 1, MORE_PAGES + 5])
async def test_a_key_that_seldom_calls_is_not_said_never_to_have_called(
    console: Console, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    """One page of the log ends after so many calls; here after each block, and those of a busy key come first."""
    for name, value in (("BLOCKS", 1), ("MOST_BLOCKS", 1), ("MOST_READ", 0)):
        monkeypatch.setattr(call_log, name, value)
    key_id, _ = await console.create("seldom")
    now = console.clock()
    await console.fold(request(key_id, time=now - 600, client="203.0.113.9"))
    for number in range(blocks):
        await console.fold(request(look_alike(key_id), time=now - 500 + 20 * number))
    page = await (await console.signed_in()).get(f"/settings/api-keys/{key_id}?range=1h")
    looked_far_enough = blocks < MORE_PAGES
    assert ("203.0.113.9" in page.text) == looked_far_enough
    assert ("Only the latest part of the log was looked at." in page.text) == (not looked_far_enough)
    assert page.text.count("None in the part of the log that was looked at") == (0 if looked_far_enough else 3)
    assert "No calls." not in page.text


def look_alike(key_id: str) -> str:
    """Another key, for which the headers of the log's blocks say what they say for this one."""
    others = (f"key_{number:016}" for number in itertools.count())
    return next(one for one in others if (shard_of(one), key_mask(one)) == (shard_of(key_id), key_mask(key_id)))
