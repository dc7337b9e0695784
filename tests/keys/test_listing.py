"""Lists of keys: the filters against a model of a few lines, pages, and stale entries."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys import listing
from sidecar.keys.index_entries import CREATED, DISABLED, EXPIRES, NAME, OWNER, REVOKED, TEXT, dots, entries, fold
from sidecar.keys.listing import Query, matcher, sieve
from sidecar.keys.ordering import Order
from sidecar.keys.record import Key, Secret, status
from sidecar.keys.repository import KeyIsRevoked, KeyRepository
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.keys import Keys, change, open_keys, shape
from tests.support.store import Server, open_store


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


async def every(keys: Keys, query: Query) -> list[Key]:
    """All pages of `query`."""
    found: list[Key] = []
    for _ in range(1000):
        page = await keys.repository.list(query)
        assert len(page.keys) <= query.limit
        found += page.keys
        if page.next_cursor is None:
            return found
        query = replace(query, cursor=page.next_cursor)
    raise AssertionError("the pages do not end")


async def populate(keys: Keys) -> list[Key]:
    """Keys of every state, oldest first."""
    made = []
    for number, (name, owner) in enumerate(itertools.product(["alpha", "Alphabet", "beta", "Größe"], ["team-a", "team-b", ""])):
        keys.clock.now += 1 if number % 3 else 0  # some share a time
        expires = keys.clock.now + (1 if number % 4 == 0 else 1_000_000)
        key = (await keys.repository.create(shape(name, owner=owner, expires_at=expires if number % 2 == 0 else None))).key
        if number % 5 == 0:
            key = await keys.repository.update(key.id, change(disabled=True))
        if number % 7 == 3:
            key = (await keys.repository.revoke(key.id)).key
        made.append(key)
    keys.clock.now += 10
    return made


def model(made: list[Key], query: Query, now: float) -> list[Key]:
    matches = matcher(query, now)
    return sorted((key for key in made if matches(key)), key=lambda key: (key.created_at, key.id), reverse=True)


@pytest.mark.parametrize("step", [1, 3, 100])
async def test_every_filter_agrees_with_the_model(keys: Keys, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A small step makes every filter seem dense, a large one sparse: both ways must give the same.
    monkeypatch.setattr(listing, "FIRST_STEP", step)
    monkeypatch.setattr(listing, "LONGEST_STEP", step)
    monkeypatch.setattr(listing, "LEAST_READ", step)
    made = await populate(keys)
    searches = [
        "",
        "al",
        "ALPHA",
        "gröss",
        "GRÖSSE",
        "team-a",
        made[0].id,
        made[1].id[:6],
        made[2].secrets[0].hint,
        made[2].secrets[0].hint[-4:],
        made[2].secrets[0].hint[-4:-2],
        made[2].secrets[0].hint.replace("…", "..."),
        "zz",
        "ahk_...",
        "ahk_..",
    ]
    for q, wanted, owner, limit in itertools.product(
        searches, [None, "active", "disabled", "expired", "revoked"], [None, "team-a", "", "team"], [2, 50]
    ):
        query = Query(q, wanted, owner, limit)  # type: ignore[arg-type]
        assert await every(keys, query) == model(made, query, keys.clock.now), query


async def test_a_name_with_dots_is_found_by_each_of_its_beginnings(keys: Keys) -> None:
    key = (await keys.repository.create(shape("wait...what"))).key
    for end in range(1, len(key.name) + 1):
        assert [one.id for one in await every(keys, Query(key.name[:end]))] == [key.id], key.name[:end]
    assert await every(keys, Query("wait…")) == []


def test_the_beginning_of_a_hints_end_finds_nothing() -> None:
    """Else each short search would find some keys by chance."""
    key = Key("key_1", "name", 1.0, secrets=(Secret("sec_1", "d", "p", "ahk_…xBfk", 0.0),))
    found = {q for q in ("x", "xB", "xBf", "xBfk", "XBFK", "ahk_…xB", "AHK_...x", "ahk_..") if matcher(Query(q), 2.0)(key)}
    assert found == {"xBfk", "XBFK", "ahk_…xB", "AHK_...x"}


async def test_status_changes_exactly_at_the_second(keys: Keys) -> None:
    expires = keys.clock.now + 60
    key = (await keys.repository.create(shape(expires_at=expires))).key
    keys.clock.now = expires - 0.001
    assert [one.id for one in await every(keys, Query(status="active"))] == [key.id]
    assert await every(keys, Query(status="expired")) == []
    keys.clock.now = expires
    assert [one.id for one in await every(keys, Query(status="expired"))] == [key.id]
    assert await every(keys, Query(status="active")) == []


async def test_entries_follow_the_key(keys: Keys) -> None:
    key = (await keys.repository.create(shape("old", owner="them", expires_at=keys.clock.now + 5))).key
    await keys.repository.update(key.id, change(name="new", owner="us", expires_at=None))
    assert await every(keys, Query("old")) == []
    assert [one.id for one in await every(keys, Query("new", owner="us"))] == [key.id]
    found = set()
    for name in (listing.TEXT, listing.OWNER, listing.EXPIRES, listing.CREATED, listing.DISABLED, listing.REVOKED, NAME):
        found |= {(name, member.decode()) for member in await keys.store.call("ZRANGE", name, 0, -1)}
    current = await keys.repository.get(key.id)
    assert current is not None
    assert found == {(name, member) for name, member, _ in entries(current)}


async def test_an_old_secret_leads_to_its_key(keys: Keys) -> None:
    first = await keys.repository.create(shape())
    await keys.repository.rotate(first.key.id, 60.0)
    assert [one.id for one in await every(keys, Query(first.token[-4:]))] == [first.key.id]


async def test_entries_that_lead_nowhere_are_passed_over(keys: Keys) -> None:
    made = [(await keys.repository.create(shape(f"k{number}"))).key for number in range(5)]
    await keys.store.call("DEL", names.key(made[2].id))
    assert len(await every(keys, Query(limit=2))) == 4
    assert len(await every(keys, Query("k", limit=2))) == 4
    assert await keys.repository.count() == 5


async def test_a_line_that_was_left_behind_shows_no_key_twice(keys: Keys) -> None:
    made = [(await keys.repository.create(shape(f"k{number}"))).key for number in range(5)]
    for key in made:
        await keys.store.call("ZADD", listing.CREATED, key.created_at, f"{key.id}\0\0an older name")
    for limit in (1, 2, 50):
        assert [key.id for key in await every(keys, Query(limit=limit))] == sorted((key.id for key in made), reverse=True)


async def test_new_keys_do_not_shift_the_pages(keys: Keys) -> None:
    made = [(await keys.repository.create(shape(f"k{number}"))).key for number in range(6)]
    page = await keys.repository.list(Query(limit=3))
    keys.clock.now += 1
    await keys.repository.create(shape("newer"))
    rest = await keys.repository.list(Query(limit=3, cursor=page.next_cursor))
    assert {key.id for key in (*page.keys, *rest.keys)} == {key.id for key in made}
    assert rest.next_cursor is None


@pytest.mark.parametrize(("order", "at"), [("newest", 2), ("oldest", 3)])
async def test_lines_that_go_meanwhile_do_not_shift_the_pages(
    keys: Keys, store: Store, monkeypatch: pytest.MonkeyPatch, order: Order, at: int
) -> None:
    """Whoever changes a key has two lines in the set for a moment; keys that are enabled leave the set of the disabled."""
    monkeypatch.setattr(listing, "FIRST_STEP", 2)
    monkeypatch.setattr("sidecar.keys.ordering.STEP", 2)
    made = []
    for number in range(9):
        keys.clock.now += 1
        made.append((await keys.repository.create(shape(f"app-{number}", disabled=True))).key)
    first, last = (made[-1], made[0]) if order == "newest" else (made[0], made[-1])
    expected = [key.id for key in sorted(made, key=lambda key: key.created_at, reverse=order == "newest")]
    call = store.call
    reads = 0

    async def called(*command: Any) -> Any:
        nonlocal reads
        if command[0] == "ZRANGE":
            reads += 1
            if reads == at:
                await keys.repository.update(first.id, change(name="renamed"))
                await keys.repository.update(first.id, change(disabled=False))
                await store.pipeline([("ZREM", CREATED, "stale")])
        return await call(*command)

    await call("ZADD", CREATED, first.created_at, "stale")
    monkeypatch.setattr(store, "call", called)
    found = [key.id for key in await every(keys, Query(status="disabled", limit=20, order=order))]
    assert reads > at
    assert last.id in found
    assert [key_id for key_id in expected if key_id != first.id] == [key_id for key_id in found if key_id != first.id]


async def test_a_page_of_a_rare_filter_is_bounded(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FIRST_STEP", 4)
    monkeypatch.setattr(listing, "LONGEST_STEP", 4)
    monkeypatch.setattr(listing, "MOST_WALKED", 8)
    oldest = (await keys.repository.create(shape())).key
    for _ in range(20):
        keys.clock.now += 1
        await keys.repository.update((await keys.repository.create(shape())).key.id, change(disabled=True))
    page = await keys.repository.list(Query(status="active"))
    assert page.keys == ()
    assert page.next_cursor is not None
    assert [key.id for key in await every(keys, Query(status="active"))] == [oldest.id]


@pytest.mark.parametrize("cursor", ["x", "", "====", "WzEsMl0", "é", "W10", "a" * 1000])
async def test_a_foreign_cursor_is_refused(keys: Keys, cursor: str) -> None:
    if not cursor:
        assert (await keys.repository.list(Query(cursor=""))).keys == ()
        return
    with pytest.raises(ValueError, match="cursor"):
        await keys.repository.list(Query(cursor=cursor))


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from([None, "active", "revoked"]), st.integers(0, 5))
def test_a_key_is_reachable_by_every_prefix_that_matches_it(name: str, owner: str, wanted: str | None, length: int) -> None:
    key = Key(id="key_1", name=name, owner=owner, created_at=1.0, secrets=(Secret("sec_1", "d", "p", "ahk_…1c96", 0.0),))
    reachable = {member for set_name, member, _ in entries(key) if set_name == listing.TEXT}
    (line,) = [member for set_name, member, _ in entries(key) if set_name == listing.CREATED]
    for text in (name, owner, "key_1", "ahk_…1c96", "1c96", "AHK_...1C"):
        query = Query(text[:length], wanted)  # type: ignore[arg-type]
        prefix = fold(query.q)
        if prefix and matcher(query, 2.0)(key):
            assert any(member.startswith((prefix, dots(prefix))) for member in reachable)
            assert sieve(query)(line.encode())
            assert sieve(replace(query, owner=owner))(line.encode())
            assert wanted in (None, status(key, 2.0))


@given(st.text(alphabet="aAß\0ÿ\U0010ffff", max_size=6))
def test_a_folded_text_holds_no_separator(text: str) -> None:
    assert listing.SEPARATOR not in fold(text)
    assert fold(fold(text)) == fold(text)


async def test_concurrent_renames_keep_the_key_in_every_list(keys: Keys) -> None:
    key = (await keys.repository.create(shape("name-0"))).key

    async def rename(number: int) -> None:
        for step in range(6):
            await keys.repository.update(key.id, change(name=f"name-{(number + step) % 2}", disabled=step % 2 == 0))

    await asyncio.gather(*(rename(number) for number in range(4)))
    current = await keys.repository.get(key.id)
    assert current is not None
    led = {(name, member) for name, member, _ in entries(current)}
    for name in {name for name, _ in led}:
        members = {member.decode() for member in await keys.store.call("ZRANGE", name, 0, -1)}
        assert {member for set_name, member in led if set_name == name} <= members


@pytest.mark.parametrize("seed", range(8))
async def test_concurrent_changes_leave_nothing_behind(keys: Keys, valkey: Server, seed: int) -> None:
    """So that keys can be counted by their lines. Writers that are slow between two steps come in any order."""
    chance = random.Random(seed)
    store = await open_store(valkey, timeout=2.0)
    writers = [KeyRepository(one, keys.adoption, keys.digester, clock=keys.clock) for one in (keys.store, store)]
    for writer in writers:
        pipeline = writer._index._store.pipeline

        async def slowly(commands: Any, pipeline: Any = pipeline) -> Any:
            await asyncio.sleep(chance.random() * 0.003)
            return await pipeline(commands)

        writer._index._store = cast("Any", SimpleNamespace(pipeline=slowly, call=writer._index._store.call))
    key = (await keys.repository.create(shape("name"))).key

    async def changed(writer: KeyRepository) -> None:
        for _ in range(5):
            what: dict[str, Any] = {chance.choice(["name", "owner"]): chance.choice("abc"), "disabled": chance.random() < 0.5}
            await writer.update(key.id, change(**what, expires_at=chance.choice([None, keys.clock.now + chance.randrange(9)])))

    await asyncio.gather(*(changed(chance.choice(writers)) for _ in range(3)))
    _, *ends = await asyncio.gather(writers[0].revoke(key.id), *map(changed, writers), return_exceptions=True)
    await store.close()
    assert all(end is None or isinstance(end, KeyIsRevoked) for end in ends)
    current = await keys.repository.get(key.id)
    assert current is not None
    for name in (CREATED, DISABLED, EXPIRES, NAME, OWNER, REVOKED, TEXT):
        members = {(name, member.decode(), score) for member, score in await keys.store.call("ZRANGE", name, 0, -1, "WITHSCORES")}
        assert {(name, member, float(score)) for _, member, score in members} == {one for one in entries(current) if one[0] == name}
    assert await keys.repository.count() == 1
