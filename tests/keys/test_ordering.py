"""Other orders than newest first: against a model, page by page, with filters, ties and stale entries."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.keys import ordering
from sidecar.keys.index_entries import NAME, fold, name_entry
from sidecar.keys.listing import Query, matcher
from sidecar.keys.ordering import Order, Position, read_cursor, write_cursor
from sidecar.keys.record import Key
from sidecar.store import names
from sidecar.store.client import Store
from tests.support.keys import Keys, change, open_keys, shape

ORDERS: tuple[Order, ...] = ("oldest", "name", "expires_at", "last_used_at")
FILTERS = (Query(), Query(q="al"), Query(owner="team-a"), Query(status="active"), Query(q="b", status="disabled"))


@pytest.fixture
async def keys(store: Store, tmp_path: Path) -> Keys:
    return await open_keys(store, tmp_path)


async def populate(keys: Keys, store: Store) -> tuple[list[Key], dict[str, float]]:
    """Keys with ties in everything; some were used."""
    made, used = [], {}
    for number in range(24):
        keys.clock.now += number % 2
        expires = keys.clock.now + 1000 * (number % 3) if number % 3 else None
        name = ("alpha", "Beta", "alphabet", "Über", "\U0001f511 key" * 12)[number % 5]
        key = (await keys.repository.create(shape(name, owner=("team-a", "team-b")[number % 2], expires_at=expires))).key
        if number % 7 == 0:
            key = await keys.repository.update(key.id, change(disabled=True))
        if number % 4:
            used[key.id] = 1000.0 + number % 6
            await store.call("ZADD", names.recent(names.shard_of(key.id)), used[key.id], key.id)
        made.append(key)
    return made, used


def model(made: list[Key], used: dict[str, float], query: Query, now: float) -> list[str]:
    matches = matcher(query, now)
    wanted = [key for key in made if matches(key)]
    ties = {key.id: f"{key.created_at!r}\0{key.id}" for key in wanted}
    if query.order == "oldest":
        wanted.sort(key=lambda key: (key.created_at, key.id))
    if query.order == "name":
        wanted.sort(key=lambda key: (fold(key.name), ties[key.id]))
    if query.order == "expires_at":
        wanted = sorted((key for key in wanted if key.expires_at), key=lambda key: (key.expires_at, ties[key.id]))
    if query.order == "last_used_at":
        wanted = sorted((key for key in wanted if key.id in used), key=lambda key: (used[key.id], key.id), reverse=True)
    return [key.id for key in wanted]


async def every(keys: Keys, query: Query) -> list[str]:
    found: list[str] = []
    for _ in range(100):
        page = await keys.repository.list(query)
        assert len(page.keys) <= query.limit
        found += [key.id for key in page.keys]
        if page.next_cursor is None:
            return found
        assert len(page.next_cursor) <= 512
        query = replace(query, cursor=page.next_cursor)
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("step", "first"), [(2, 0), (100, 1000)])
async def test_orders_are_those_of_the_model(
    keys: Keys, store: Store, monkeypatch: pytest.MonkeyPatch, order: Order, step: int, first: int
) -> None:
    """With short steps ties run over them; with `first` 0 no filter counts as sparse, so every one is walked."""
    monkeypatch.setattr(ordering, "STEP", step)
    monkeypatch.setattr("sidecar.keys.listing.FIRST_STEP", first)
    made, used = await populate(keys, store)
    for shown in FILTERS:
        for limit in (1, 5, 100):
            query = replace(shown, order=order, limit=limit)
            assert await every(keys, query) == model(made, used, query, keys.clock.now), query


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
async def test_no_key_that_was_used_is_passed_over(store: Store, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Many share the time of their last use, and shards have few or many of them."""
    monkeypatch.setattr(ordering, "STEP", step)
    chance = random.Random(step)
    places = [Position(1000.0 + chance.randrange(4), f"key_{chance.randrange(10**16):016}") for _ in range(60)]
    for place in places:
        await store.call("ZADD", names.recent(names.shard_of(place.key_id)), place.value, place.key_id)
    sequel = ordering.ByUse(store)
    for at in (1, 5):
        seen: list[Position] = []
        while positions := await sequel.read(seen[-1] if seen else None):
            seen += positions[:at]
        assert seen == sorted(places, reverse=True)


@pytest.mark.parametrize("first", [0, 1000])
@pytest.mark.parametrize("start", ["", "\U0001f511" * 100], ids=["short", "long"])
async def test_a_page_goes_on_where_the_last_one_ended_though_its_last_key_is_renamed(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, start: str, first: int
) -> None:
    """Also when the names are too long for a cursor; then some may come again, but none is missed."""
    monkeypatch.setattr("sidecar.keys.listing.FIRST_STEP", first)
    made = []
    for name in ("bravo", "charlie", "charlie", "delta", "echo"):
        keys.clock.now += 1
        made.append((await keys.repository.create(shape(start + name, owner="team"))).key)
    for renamed in ("Zulu", "Alpha"):
        found: list[str] = []
        query = Query(order="name", owner="team", limit=2)
        while True:
            page = await keys.repository.list(query)
            found += [key.id for key in page.keys]
            if page.next_cursor is None:
                break
            assert len(page.next_cursor) <= 512
            if query.cursor is None:
                await keys.repository.update(page.keys[-1].id, change(name=start + renamed))
            query = replace(query, cursor=page.next_cursor)
        assert {key.id for key in made} == set(found)
        assert start or found[:4] == [key.id for key in made[:4]]
        for key in made:
            await keys.repository.update(key.id, change(name=key.name))


async def test_a_page_ends_before_it_takes_long(keys: Keys, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "STEP", 2)
    monkeypatch.setattr(ordering, "MOST_READ", 4)
    monkeypatch.setattr("sidecar.keys.listing.FIRST_STEP", 0)
    made, used = await populate(keys, store)
    query = Query(status="disabled", order="name")
    page = await keys.repository.list(query)
    assert page.next_cursor is not None and len(page.keys) < 4
    assert await every(keys, query) == model(made, used, query, keys.clock.now)


async def test_a_stale_entry_shows_no_key_twice(keys: Keys, store: Store) -> None:
    key = (await keys.repository.create(shape("old name"))).key
    stale = name_entry(key)
    await keys.repository.update(key.id, lambda key: replace_name(key, "new name"))
    await store.call("ZADD", NAME, 0, stale)
    await store.call("ZADD", NAME, 0, "zzz\x001.0\0key_gone")
    assert await every(keys, Query(order="name")) == [key.id]


def replace_name(key: Key, name: str) -> Key:
    return type(key)(**{**{field: getattr(key, field) for field in key.__struct_fields__}, "name": name})


@pytest.mark.parametrize("order", ORDERS)
async def test_a_cursor_belongs_to_its_order(keys: Keys, order: Order) -> None:
    await keys.repository.create(shape("a"))
    other = write_cursor("oldest" if order != "oldest" else "name", Position(1.0, "key_1"))
    for wrong in (other, "x", "é", write_cursor(order, Position(1.0, "a"))[:-3]):
        with pytest.raises(ValueError, match="begin again"):
            await keys.repository.list(Query(order=order, cursor=wrong))
    assert read_cursor(order, write_cursor(order, Position(2.5, "key_1"))) == Position(2.5, "key_1")
