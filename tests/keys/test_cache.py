"""The cache alone: bounds, second chances, and the race between reading and forgetting."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.keys.cache import ABSENT_FOR, MISS, MOST_ABSENT, KeyCache
from sidecar.keys.reader import Found
from sidecar.keys.record import Key, Secret
from tests.support.keys import Clock


def found(key_id: str, digest: str) -> Found:
    secret = Secret(f"sec_{digest}", digest, "p", "h", 0.0)
    return Found(Key(id=key_id, name="n", created_at=0.0, secrets=(secret,)), secret)


def test_hit_miss_and_negative() -> None:
    clock = Clock()
    cache = KeyCache(10, clock=clock)
    assert cache.lookup("a") is MISS
    cache.put("a", found("k", "a"), cache.generation)
    cache.put("b", None, cache.generation)
    assert cache.lookup("a") == found("k", "a")
    assert cache.lookup("b") is None
    clock.now += ABSENT_FOR
    assert cache.lookup("b") is MISS
    assert cache.counters == {"hit": 1, "miss": 2, "negative_hit": 1, "stale": 0}


def test_what_was_read_before_a_change_is_not_kept() -> None:
    cache = KeyCache(10)
    for forget in (lambda: cache.forget_key("other"), lambda: cache.forget_digest("x"), cache.flush):
        generation = cache.generation
        forget()
        cache.put("a", found("k", "a"), generation)
        cache.put("b", None, generation)
        assert cache.lookup("a") is MISS
        assert cache.lookup("b") is MISS


def test_a_changed_key_is_forgotten_under_all_its_digests() -> None:
    cache = KeyCache(10)
    for digest in ("a", "b"):
        cache.put(digest, found("k", digest), cache.generation)
    cache.put("c", found("other", "c"), cache.generation)
    assert cache.forget_key("k")
    assert not cache.forget_key("k")
    assert cache.lookup("a") is MISS
    assert cache.lookup("b") is MISS
    assert cache.lookup("c") == found("other", "c")


def test_a_digest_that_another_key_has_now_is_forgotten_with_that_one() -> None:
    """As where a token is imported anew that its key had dropped, and no report of that has come."""
    cache = KeyCache(2)
    cache.put("a", found("before", "a"), cache.generation)
    cache.put("b", found("before", "b"), cache.generation)
    cache.put("a", found("now", "a"), cache.generation)
    assert cache.lookup("a") == found("now", "a")
    assert cache.forget_key("now")
    assert cache.lookup("a") is MISS
    assert cache.lookup("b") is MISS, "what else the other key was known by is outdated too"
    for digest in ("c", "d", "e"):
        cache.put(digest, found("other", digest), cache.generation)
    assert len(cache) == 2


def test_a_digest_that_appears_is_no_longer_unknown() -> None:
    cache = KeyCache(10)
    cache.put("a", None, cache.generation)
    cache.forget_digest("a")
    assert cache.lookup("a") is MISS


def test_unknown_digests_are_bounded() -> None:
    cache = KeyCache(10)
    for number in range(MOST_ABSENT + 5):
        cache.put(str(number), None, cache.generation)
    assert cache.lookup("0") is MISS
    assert cache.lookup(str(MOST_ABSENT + 4)) is None


def test_what_is_used_outlives_a_scan() -> None:
    cache = KeyCache(100)
    cache.put("hot", found("hot", "hot"), cache.generation)
    for number in range(1000):
        assert cache.lookup("hot") is not MISS
        cache.put(str(number), found(str(number), str(number)), cache.generation)
    assert len(cache) == 100


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("pflx"), st.integers(0, 6), st.integers(0, 3)), max_size=80))
def test_never_more_than_its_size_and_never_another_answer(steps: list[tuple[str, int, int]]) -> None:
    cache = KeyCache(3)
    model: dict[str, str] = {}
    for act, digest_number, key_number in steps:
        digest, key_id = f"d{digest_number}", f"k{digest_number % 4}"
        if act == "p":
            cache.put(digest, found(key_id, digest), cache.generation)
            model[digest] = key_id
        elif act == "f":
            cache.forget_key(f"k{key_number}")
            model = {one: owner for one, owner in model.items() if owner != f"k{key_number}"}
        elif act == "x":
            cache.flush()
            model.clear()
        answer = cache.lookup(digest)
        assert answer is MISS or (isinstance(answer, Found) and answer.key.id == model[digest])
        assert len(cache) <= 3
        assert all((f"k{number}" in cache) <= (f"k{number}" in model.values()) for number in range(4))
