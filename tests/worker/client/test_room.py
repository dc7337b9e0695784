"""What all requests of a worker share of its memory: whoever has nothing yet gets something, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import Refused
from sidecar.worker.client.room import Room


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.sampled_from(["", "a", "b", None]), st.integers(0, 3), st.integers(1, 40), st.booleans()), max_size=300),
)
def test_no_order_of_coming_and_going_overfills_or_loses(size: int, steps: list[tuple[str | None, int, int, bool]]) -> None:
    room = Room(size)
    taken: Counter[tuple[str | None, int]] = Counter()
    for key_id, request, wanted, comes in steps:
        own = taken[key_id, request]
        if not comes:
            if own:
                room.give_back(key_id, own)
                del taken[key_id, request]
        else:
            others = sum(held for (key, _), held in taken.items() if key == key_id) - own
            try:
                room.take(key_id, wanted, own)
            except Refused:
                assert wanted > room.free or (key_id is not None and others >= 2 * room.free), "refused though it has its share"
            else:
                taken[key_id, request] += wanted
        assert room.free == size - taken.total() >= 0
    for (key_id, _), held in taken.items():
        if held:
            room.give_back(key_id, held)
    assert room.free == size and not room._held


def test_a_single_request_may_take_all() -> None:
    room = Room(10)
    for own in range(10):
        room.take("a", 1, own)
    assert room.free == 0


@pytest.mark.parametrize(("key_id", "left"), [("a", 4), ("", 4), (None, 0)])
def test_many_of_one_key_leave_a_third(key_id: str | None, left: int) -> None:
    """What no key is known of yet is held to no share: it may be everybody's."""
    room = Room(12)
    with suppress(Refused):
        for _ in range(13):
            room.take(key_id, 1, 0)
    assert room.free == left
    if left:
        room.take("other", left, 0)
