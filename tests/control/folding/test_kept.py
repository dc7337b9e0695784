from __future__ import annotations

from sidecar.control.folding.kept import MOST_ROWS, Kept, Stretch
from tests.control.support.events import key_id, request, sums_of


def stretch(start: int, end: int, keys: int = 1) -> Stretch:
    return Stretch(start, end, sums_of(*(request(key_id(number)) for number in range(keys))))


def test_what_follows_comes_as_one() -> None:
    kept = Kept()
    kept.put("a", stretch(0, 10, 2))
    kept.put("a", stretch(10, 30, 3))
    found = kept.following("a", 0)
    assert found is not None
    assert (found.start, found.end, found.sums.size, len(list(found.sums.rows))) == (0, 30, 5, 5)
    # Nothing is given away: the store may refuse it, and then it is asked for again.
    assert kept.following("a", 0) is not None


def test_what_the_store_has_is_forgotten() -> None:
    kept = Kept()
    kept.put("a", stretch(0, 10))
    kept.put("a", stretch(10, 30))
    found = kept.following("a", 10)
    assert found is not None
    assert (found.start, found.end) == (10, 30)
    assert kept.following("a", 0) is None
    assert kept.following("a", 30) is None


def test_nothing_is_kept_from_elsewhere() -> None:
    kept = Kept()
    kept.put("a", stretch(0, 10))
    assert kept.following("a", 5) is None
    assert kept.following("b", 0) is None
    kept.retire("a")
    assert kept.following("a", 0) is None


def test_a_gap_begins_anew() -> None:
    kept = Kept()
    kept.put("a", stretch(0, 10))
    kept.put("a", stretch(20, 30))
    assert kept.following("a", 0) is None


def test_bytes_are_bounded_over_all_spools() -> None:
    kept = Kept(most_bytes=100)
    kept.put("a", stretch(0, 60))
    kept.put("b", stretch(0, 40))
    kept.put("b", stretch(40, 41))
    assert kept.following("a", 0) is None
    found = kept.following("b", 40)
    assert found is not None
    assert found.end == 41


def test_rows_at_once_are_bounded_but_never_none() -> None:
    kept = Kept()
    kept.put("a", stretch(0, 10, MOST_ROWS + 1))
    kept.put("a", stretch(10, 20))
    found = kept.following("a", 0)
    assert found is not None
    assert found.end == 10
