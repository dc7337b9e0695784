from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.networks import Network
from sidecar.control.anomaly.second import NO_KEY
from sidecar.control.anomaly.signals import DAY
from sidecar.control.anomaly.sources import Sources
from sidecar.control.anomaly.thresholds import Thresholds
from tests.control.anomaly.life import AWAY, BORN, HOME, Life, refused, served

KEYS = [f"key_{index}" for index in range(10)]


def _fleet() -> Life:
    """Ten settled keys, all used from one network every day."""
    life = Life(days=0)
    for time in range(BORN, BORN + 8 * DAY, 1800):
        life.see(*(served(time, 3, key=key) for key in KEYS))
    return life


def test_a_stolen_file_of_keys_pages_for_its_network() -> None:
    life = _fleet()
    for key in KEYS[:4]:
        life.see(served(life.later(20), client=AWAY, key=key))
    assert ("203.0.113.0/24", "page") not in life.told
    life.see(served(life.later(20), client=AWAY, key=KEYS[4]))
    assert life.told[-1] == ("203.0.113.0/24", "page")
    episode = life.observer.episodes.open["203.0.113.0/24"]
    assert (episode.subject, episode.key_id) == ("source", "")
    assert "5 keys first used from 203.0.113.0/24" in episode.summary


def test_a_network_that_always_used_them_all_is_nothing() -> None:
    assert _fleet().told == []


def test_the_same_over_days_is_no_file() -> None:
    life = _fleet()
    for key in KEYS[:6]:
        life.see(served(life.later(3600), client=AWAY, key=key))
    assert "203.0.113.0/24" not in life.observer.episodes.open


def test_guessing_is_a_warning_within_a_minute() -> None:
    life = Life()
    begun = life.now
    while (AWAY.rpartition(".")[0] + ".0/24", "warn") not in life.told:
        life.see(refused(life.later(10), "invalid_api_key", 10, client=AWAY, key=NO_KEY))
        assert life.now - begun <= 60
    for _ in range(30):
        life.see(refused(life.later(10), "invalid_api_key", 10, client=AWAY, key=NO_KEY))
    assert len([subject for subject, _ in life.told if subject.startswith("203.")]) == 1


def test_guessing_from_everywhere_is_seen_although_no_network_stands_out() -> None:
    life = Life()
    for index in range(200):
        life.see(refused(life.later(1), "invalid_api_key", 2, client=f"192.{index}.0.1", key=NO_KEY))
    assert ("all networks together", "warn") in life.told


def test_requests_without_a_credential_are_no_guesses() -> None:
    life = Life()
    for _ in range(50):
        life.see(refused(life.later(1), "missing_api_key", 5, client=HOME, key=NO_KEY))
    assert life.told == []


def test_a_silenced_network_stays_silent_until_then() -> None:
    sources = Sources(Thresholds())
    network = Network(7, "n")
    sources.failed(network, 100, 1000)
    sources.silence("n", 2000)
    assert not sources.by_number[7].raised
    sources.failed(network, 100, 1999)
    assert not sources.by_number[7].raised
    sources.failed(network, 100, 2000)
    assert sources.by_number[7].raised


def test_a_signal_of_a_network_runs_out() -> None:
    sources = Sources(Thresholds())
    sources.failed(Network(7, "n"), 100, 1000)
    sources.lower(1000 + 3599)
    assert sources.by_number[7].raised
    sources.lower(1000 + 3600)
    assert not sources.by_number[7].raised


@given(st.lists(st.integers(0, 300), max_size=50))
def test_networks_are_bounded_and_the_latest_are_kept(extra: list[int]) -> None:
    sources = Sources(Thresholds(), capacity=100)
    for number in [*range(100), *extra]:
        sources.key_began(Network(number, "x"), "key", 2)
    assert len(sources.by_number) <= 100
    assert set(extra) <= set(sources.by_number)
    assert set(sources.recent(2)) >= set(extra)
