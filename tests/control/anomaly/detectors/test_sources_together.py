"""Guessing from many networks is told as one; and what a clock that was put back has left."""

from __future__ import annotations

import pytest

from sidecar.control.anomaly.detectors.networks import Network
from sidecar.control.anomaly.detectors.second import NO_KEY
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.detectors.sources import EVERYWHERE, Sources
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from tests.control.anomaly.detectors.test_sources import KEYS, NETWORK, NOW
from tests.control.anomaly.life import AWAY, Life, refused

GUESSERS = Thresholds().guessers


def _guess(sources: Sources, numbers: range, now: int) -> set[int]:
    """Networks that fail as often as is told; of which it is."""
    for number in numbers:
        sources.failed(Network(number, f"n{number}"), 20, now)
    return {number for number, source in sources.by_number.items() if source.raised} - {EVERYWHERE.number}


@pytest.mark.parametrize("apart", [1, 60], ids=["at once", "too slowly for all together"])
def test_guessing_from_thousands_of_networks_is_told_as_one(apart: int) -> None:
    life = Life(days=0)
    for number in range(1000):
        life.see(refused(life.later(apart), "invalid_api_key", 20, client=f"2001:db8:{number:x}::1", key=NO_KEY))
    assert len(life.told) == GUESSERS + 1
    assert life.told.count(("all networks together", "warn")) == 1
    assert life.observer.episodes.open["all networks together"].active == ["key_guessing"]


def test_a_loud_network_hides_no_other() -> None:
    life = Life()
    for _ in range(100):
        life.see(refused(life.later(10), "invalid_api_key", 50, client=AWAY, key=NO_KEY))
        life.see(refused(life.later(1), "invalid_api_key", 3, client="192.0.2.1", key=NO_KEY))
    assert {subject for subject, _ in life.told} == {"203.0.113.0/24", "192.0.2.0/24", "all networks together"}


@pytest.mark.parametrize(("after", "more"), [(HOUR - 1, 0), (HOUR, GUESSERS)])
def test_a_few_networks_are_told_by_themselves_in_an_hour(after: int, more: int) -> None:
    sources = Sources(Thresholds(guesses_everywhere=10**9))
    assert _guess(sources, range(1, GUESSERS + 1), NOW) == {*range(1, GUESSERS + 1)}
    assert not sources.by_number[EVERYWHERE.number].raised
    assert len(_guess(sources, range(100, 200), NOW + after)) == GUESSERS + more
    told = [up.evidence for up in sources.by_number[EVERYWHERE.number].raised.values()]
    assert told == [f"requests with unknown keys from more than {GUESSERS} networks"]
    assert _guess(sources, range(1, 2), NOW + after) >= {1}
    assert sources.by_number[1].raised["key_guessing"].until == NOW + after + HOUR, "what is told goes on"


def test_none_is_added_while_all_networks_together_are_told() -> None:
    sources = Sources(Thresholds())
    for hour in range(10):
        found = _guess(sources, range(100 * hour + 1, 100 * hour + 100), NOW + hour * (HOUR - 1))
        sources.lower(NOW + hour * (HOUR - 1))
    assert found == set() and sources.by_number[EVERYWHERE.number].raised["key_guessing"].since == NOW
    sources.lower(NOW + 11 * HOUR)
    assert len(_guess(sources, range(2000, 2100), NOW + 11 * HOUR)) == GUESSERS


def test_what_is_silenced_takes_no_place_and_no_silence_makes_more_places() -> None:
    sources = Sources(Thresholds())
    for number in range(1000, 1050):
        sources.mute(Network(number, f"n{number}"), NOW + 1, NOW)
    assert _guess(sources, range(1000, 1050), NOW) == set()
    sources.mute(EVERYWHERE, NOW + DAY, NOW)
    assert len(_guess(sources, range(1, 100), NOW)) == GUESSERS
    assert not sources.by_number[EVERYWHERE.number].raised


def test_places_are_remembered_over_a_restart() -> None:
    before, after = Sources(Thresholds()), Sources(Thresholds())
    _guess(before, range(1, 100), NOW)
    after.by_number.update(before.recent(NOW))
    assert len(_guess(after, range(100, 200), NOW)) == GUESSERS


def test_what_a_clock_raised_that_was_put_back_is_over() -> None:
    sources = Sources(Thresholds())
    sources.failed(NETWORK, 20, NOW)
    sources.failed(NETWORK, 20, NOW + 30 * DAY)
    sources.changed.clear()
    sources.lower(NOW + 60)
    assert not sources.by_number[7].raised and sources.changed == {7}


@pytest.mark.parametrize(("ahead", "counts"), [(2 * HOUR, True), (2 * HOUR + 60, False)])
def test_what_a_clock_counted_that_was_put_back_counts_no_more(ahead: int, counts: bool) -> None:
    sources = Sources(Thresholds())
    sources.failed(NETWORK, 19, NOW + ahead)
    sources.failed(NETWORK, 1, NOW)
    assert bool(sources.by_number[7].raised) == counts
    for key in KEYS[:4]:
        sources.key_began(Network(8, "m"), key, NOW + ahead)
    sources.key_began(Network(8, "m"), KEYS[4], NOW)
    assert bool(sources.by_number[8].raised) == counts
    _guess(sources, range(100, 200), NOW + ahead)
    sources.lower(NOW)
    assert (not _guess(sources, range(200, 300), NOW) & {*range(200, 300)}) == counts, "or places are taken for as long"
