"""The table of keys: filters and orders in the URL, pages, export, revoking several at once, and nothing that anybody named can run."""

from __future__ import annotations

import csv
import errno
import io
import re
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.document import document
from sidecar.control.audit import Journal
from sidecar.control.console.screens import keys as screen
from sidecar.control.queries import Anomalies
from sidecar.keys.record import Key
from sidecar.keys.token import hint
from sidecar.store import names as store_names
from sidecar.store.client import StoreUnavailable
from tests.control.console.conftest import Console
from tests.control.support.events import request

HOME = "/settings/api-keys"
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}"


async def fill(console: Console, count: int) -> list[str]:
    """Keys straight through the repository, oldest first."""
    made = []
    for number in range(count):
        shape = Key(id="", name=f"key {number:03}", created_at=0.0, owner=("red", "blue")[number % 2])
        made.append((await console.services.keys.create(shape)).key.id)
    return made


def names(text: str) -> list[str]:
    return re.findall(r'class="name"[^>]*><a [^>]*>([^<]*)<', text)


async def test_an_empty_table_tells_how_to_begin(console: Console) -> None:
    page = await (await console.signed_in()).get(HOME)
    assert "No keys yet" in page.text and "curl http://127.0.0.1:8080" in page.text and "Generate New Key" in page.text


async def test_filters_and_orders_are_in_the_url(console: Console) -> None:
    await fill(console, 6)
    browser = await console.signed_in("viewer")
    assert names((await browser.get(HOME)).text) == [f"key {number:03}" for number in (5, 4, 3, 2, 1, 0)]
    assert names((await browser.get(f"{HOME}?sort=oldest")).text)[0] == "key 000"
    assert names((await browser.get(f"{HOME}?sort=name&owner=blue")).text) == ["key 001", "key 003", "key 005"]
    assert names((await browser.get(f"{HOME}?q=key+002")).text) == ["key 002"]
    assert names((await browser.get(f"{HOME}?q=key&status=revoked")).text) == []
    page = await browser.get(f"{HOME}?owner=blue&sort=name")
    assert 'value="blue"' in page.text and '<option value="name" selected>' in page.text
    assert (await browser.get(f"{HOME}?status=nonsense")).status == 400


@pytest.mark.parametrize("scheme", ["", "Bearer "])
async def test_whoever_searches_for_a_whole_key_is_shown_it_by_its_end(console: Console, scheme: str) -> None:
    """“No key matches” would say of a key that leaked that it is nobody's, and every link of that page would hold it."""
    await fill(console, 2)
    _, secret = await console.create(name="leaked")
    browser = await console.signed_in("viewer")
    page = await browser.get(f"{HOME}?status=active&q={quote(scheme + secret)}")
    assert (page.status, secret in page.text) == (303, False)
    assert page.location == f"{HOME}?q={quote(hint(secret))}&status=active"
    assert names((await browser.get(page.location)).text) == ["leaked"]


async def test_an_order_that_leaves_keys_out_says_so(console: Console) -> None:
    await fill(console, 2)
    browser = await console.signed_in("viewer")
    page = await browser.get(f"{HOME}?sort=expires_at")
    assert "Filtered from 2 keys" in page.text and "No key expires." in page.text and ">Clear<" in page.text
    assert "No key has been used yet." in (await browser.get(f"{HOME}?sort=last_used_at")).text
    assert "No key matches." in (await browser.get(f"{HOME}?sort=expires_at&owner=blue")).text
    assert "Filtered" not in (await browser.get(f"{HOME}?sort=name")).text


async def test_pages_follow_each_other(console: Console) -> None:
    await fill(console, screen.PAGE + 3)
    browser = await console.signed_in()
    page = await browser.get(f"{HOME}?sort=name")
    assert len(names(page.text)) == screen.PAGE
    following = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert following and "sort=name" in following[1]
    page = await browser.get(following[1].replace("&amp;", "&"))
    assert names(page.text) == ["key 050", "key 051", "key 052"]
    assert "First page" in page.text and 'rel="next"' not in page.text


async def test_suspected_keys_can_be_picked_out(console: Console) -> None:
    key_id, secret = await console.create("stolen?")
    await console.create("quiet")
    console.services.anomalies.anomaly.key_id = key_id  # type: ignore[union-attr]
    browser = await console.signed_in("viewer")
    assert names((await browser.get(f"{HOME}?risk=any")).text) == ["stolen?"]
    assert names((await browser.get(f"{HOME}?risk=page&q=STO")).text) == ["stolen?"]
    assert names((await browser.get(f"{HOME}?risk=any&q=ahk_...{secret[-4:]}")).text) == ["stolen?"]
    assert names((await browser.get(f"{HOME}?risk=any&q={secret[-4:]}")).text) == ["stolen?"]
    assert names((await browser.get(f"{HOME}?risk=warn")).text) == []
    assert "High · 7" in (await browser.get(HOME)).text


async def test_suspected_keys_come_in_pages_the_worst_first(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "PAGE", 2)
    made = await fill(console, 5)
    every = [replace(console.services.anomalies.anomaly, key_id=key_id, score=score) for score, key_id in enumerate(made)]  # type: ignore[union-attr]

    async def anomalies(**_: object) -> Anomalies:
        return Anomalies([document(one) for one in every])

    monkeypatch.setattr(console.services.anomalies, "anomalies", anomalies)
    browser = await console.signed_in("viewer")
    seen, path = [], f"{HOME}?risk=any"
    while path:
        page = await browser.get(path)
        seen += names(page.text)
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"key {number:03}" for number in (4, 3, 2, 1, 0)]
    assert names((await browser.get(f"{HOME}?risk=any&cursor={'9' * 5000}")).text) == seen[: screen.PAGE]
    await fill(console, 2)
    monkeypatch.setattr(screen, "EXPORT_PAGE", 2)
    exported = list(csv.DictReader(io.StringIO((await browser.get(f"{HOME}/export.csv?risk=any")).text)))
    assert [row["name"] for row in exported] == seen


@pytest.mark.parametrize(
    ("order", "expected"),
    [("", "cba"), ("oldest", "bca"), ("name", "abc"), ("last_used_at", "ab"), ("expires_at", "cb"), ("nonsense", "cba")],
)
async def test_suspected_keys_come_in_the_order_that_was_chosen(
    console: Console, monkeypatch: pytest.MonkeyPatch, order: str, expected: str
) -> None:
    made = {}
    for name, expires in (("b", "30"), ("c", "7"), ("a", "")):
        made[name], _ = await console.create(name, expires=expires)
        console.clock.offset += 1
    await console.fold(request(made["b"], time=console.clock() - 9), request(made["a"], time=console.clock() - 5))
    anomaly = console.services.anomalies.anomaly  # type: ignore[union-attr]
    every = [replace(anomaly, key_id=made[name], score=score) for score, name in enumerate("abc")]

    async def anomalies(**_: object) -> Anomalies:
        return Anomalies([document(one) for one in every])

    monkeypatch.setattr(console.services.anomalies, "anomalies", anomalies)
    page = await (await console.signed_in("viewer")).get(f"{HOME}?risk=any&sort={order}")
    assert "".join(names(page.text)) == expected


async def test_the_export_is_complete_and_safe_to_open(console: Console) -> None:
    await fill(console, 3)
    await console.create("=HYPERLINK(1)")
    page = await (await console.signed_in("viewer")).get(f"{HOME}/export.csv?sort=name")
    rows = list(csv.DictReader(io.StringIO(page.text)))
    assert [row["name"] for row in rows] == ["'=HYPERLINK(1)", "key 000", "key 001", "key 002"]
    assert "attachment" in page.headers["Content-Disposition"] and page.headers["Cache-Control"] == "no-store"


async def test_several_keys_are_revoked_after_a_question(console: Console) -> None:
    made = await fill(console, 3)
    browser = await console.signed_in("operator")
    page = await browser.post(f"{HOME}/revoke", {"key": made[:2]})
    assert "Revoke 2 keys?" in page.text and "key 000" in page.text and "key 002" not in page.text
    before = await console.services.keys.get_many(made)
    assert not any(key.revoked_at for key in before if key)
    page = await browser.post(f"{HOME}/revoke", {"key": [*made[:2], made[0], "key_" + "0" * 16], "confirmed": "yes", "reason": "tidy"})
    assert page.location == f"{HOME}?done=bulk-revoked"
    assert "The selected keys are revoked." in (await browser.get(page.location)).text
    assert [key.revoked_at is not None for key in await console.services.keys.get_many(made) if key] == [True, True, False]
    assert (await browser.post(f"{HOME}/revoke")).location == HOME


async def test_the_address_of_a_question_leads_to_the_keys(console: Console) -> None:
    browser = await console.signed_in("operator")
    page = await browser.get(f"{HOME}/revoke")
    assert (page.status, page.location) == (303, HOME)


async def test_several_keys_in_use_are_revoked_by_their_number(console: Console) -> None:
    made = await fill(console, 3)
    await console.fold(request(made[2], time=console.clock() - 60))
    browser = await console.signed_in("operator")
    assert "typed_count" not in (await browser.post(f"{HOME}/revoke", {"key": made[:2]})).text
    assert 'id="typed_count"' in (await browser.post(f"{HOME}/revoke", {"key": made})).text
    for typed in ("", "2", "yes"):
        page = await browser.post(f"{HOME}/revoke", {"key": made, "confirmed": "yes", "typed_count": typed, "reason": "tidy"})
        assert page.status == 400 and "Type 3, the number of the keys above." in page.text and 'value="tidy"' in page.text
        assert re.search(r'id="typed_count"[^>]* autofocus', page.text) and page.text.count("autofocus") == 1
        assert not any(key.revoked_at for key in await console.services.keys.get_many(made) if key)
    page = await browser.post(f"{HOME}/revoke", {"key": made, "confirmed": "yes", "typed_count": " 3 "})
    assert page.location == f"{HOME}?done=bulk-revoked"
    assert all(key.revoked_at for key in await console.services.keys.get_many(made) if key)


async def test_one_key_that_cannot_be_revoked_keeps_no_other_alive(console: Console) -> None:
    made = await fill(console, 4)
    store = console.store
    for key_id, spoilt in ((made[1], {"version": 9}), (made[2], {"on_anomaly": "quarantine"})):
        record = msgspec.json.decode(await store.call("HGET", store_names.key(key_id), "record"))
        await store.call("HSET", store_names.key(key_id), "record", msgspec.json.encode(record | spoilt))
    browser = await console.signed_in("operator")
    page = await browser.post(f"{HOME}/revoke", {"key": made, "confirmed": "yes", "reason": "leak & more"})
    assert page.status == 409
    assert "2 keys revoked. Not revoked:" in page.text and "leak &amp; more" in page.text
    told = re.findall(r"<li><code>(key_\w+)</code>: (.*?)</li>", page.text)
    assert [key_id for key_id, _ in told] == made[1:3] and all(len(why) > 10 for _, why in told)
    found = await console.services.keys.get_many(made)
    assert [key.id for key in found if key is not None and key.revoked_at is not None] == [made[0], made[3]]


async def test_a_store_that_goes_away_between_two_revocations_leaves_a_report(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await fill(console, 3)
    keys = console.services.keys
    revoke = keys.revoke

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the key store cannot be reached")

    async def once(key_id: str, *more: Any) -> Any:
        if key_id == made[0]:
            return await revoke(key_id, *more)
        for name in ("get", "get_many", "uses", "revoke"):
            patched.setattr(keys, name, away)
        return await away()

    browser = await console.signed_in("operator")
    with monkeypatch.context() as patched:
        patched.setattr(keys, "revoke", once)
        page = await browser.post(f"{HOME}/revoke", {"key": made, "confirmed": "yes", "reason": "leak"})
    assert page.status == 409 and "1 key revoked. Not revoked:" in page.text
    assert re.findall(r"<li><code>(key_\w+)</code>", page.text) == made[1:]
    assert [key.revoked_at is not None for key in await keys.get_many(made) if key] == [True, False, False]


async def test_a_full_disk_is_named_to_whom_revokes(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await fill(console, 2)
    browser = await console.signed_in("operator")

    def full(self: Journal, event: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "write", full)
        page = await browser.post(f"{HOME}/revoke", {"key": made, "confirmed": "yes"})
    assert page.status == 409 and "0 keys revoked. Not revoked:" in page.text and page.text.count("data_dir") == 2
    assert not any(key.revoked_at for key in await console.services.keys.get_many(made) if key)


async def test_names_owners_and_searches_are_text(console: Console) -> None:
    key_id, _ = await console.create(HOSTILE, owner=HOSTILE, tags=HOSTILE[:60], allowed_models=HOSTILE)
    console.services.anomalies.anomaly.key_name = HOSTILE  # type: ignore[union-attr]
    console.services.anomalies.anomaly.signals[0] = type(console.services.anomalies.anomaly.signals[0])("x", 1, 1.0, HOSTILE)  # type: ignore[union-attr]
    browser = await console.signed_in()
    key = f"{HOME}/{key_id}"
    places = (HOME, f"{HOME}?q={quote(HOSTILE)}", key, f"{key}/edit", f"{key}/rotate", f"{key}/revoke", "/audit-log", "/alerts?state=all")
    for place in places:
        page = await browser.get(place)
        assert page.status == 200, place
        assert "alert(1)" in page.text or "onerror" in page.text or place.endswith("?q="), place
        assert "<script>alert" not in page.text and "<img" not in page.text and "49" not in re.findall(r"\{\{.*?\}\}", page.text)


async def test_a_link_puts_no_words_on_a_page(console: Console) -> None:
    page = await (await console.signed_in()).get(f"{HOME}?done=Your+account+is+locked")
    assert "locked" not in page.text
