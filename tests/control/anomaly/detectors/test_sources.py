from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.detectors.networks import Network
from sidecar.control.anomaly.detectors.second import NO_KEY
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.detectors.sources import EVERYWHERE, Sources
from sidecar.control.anomaly.detectors.thresholds import Thresholds
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
    assert all(key in episode.summary for key in KEYS[:5]), "an operator is to disable them"


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
    assert life.told == [("all networks together", "warn")]


def test_requests_without_a_credential_are_no_guesses() -> None:
    life = Life()
    for _ in range(50):
        life.see(refused(life.later(1), "missing_api_key", 5, client=HOME, key=NO_KEY))
    assert life.told == []


def test_a_silenced_network_stays_silent_until_then() -> None:
    sources = Sources(Thresholds())
    network = Network(7, "n")
    sources.failed(network, 100, 1000)
    sources.mute(network, 2000, 1000)
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


NETWORK = Network(7, "n")
NOW = 3660 * 100_000
"""A whole minute."""


def _told(sources: Sources, network: Network = NETWORK) -> list[str]:
    return [raised.evidence for raised in sources.by_number[network.number].raised.values()]


@pytest.mark.parametrize(
    ("after", "told"), [(1799, ["5 keys first used from n within 30 minutes: key_0, key_1, key_2, key_3, key_4"]), (1800, [])]
)
def test_keys_count_for_half_an_hour(after: int, told: list[str]) -> None:
    sources = Sources(Thresholds())
    for key in KEYS[:4]:
        sources.key_began(NETWORK, key, NOW)
    sources.key_began(NETWORK, KEYS[4], NOW + after)
    assert _told(sources) == told


def test_the_latest_keys_of_a_network_are_remembered() -> None:
    sources = Sources(Thresholds())
    for number in range(300):
        sources.key_began(NETWORK, f"key_{number}", NOW + number)
    assert sources.by_number[7].keys == {f"key_{number}": NOW + number for number in range(44, 300)}
    (told,) = _told(sources)
    assert told.startswith("256 keys or more first used from n within 30 minutes: key_44, key_45, ") and told.endswith(", key_299")


def test_all_keys_are_named_that_a_network_began_to_use_while_its_signal_is_up() -> None:
    """They are what is to be disabled, also where a file of keys is tried slowly."""
    sources = Sources(Thresholds())
    for number in range(24):
        sources.key_began(NETWORK, f"key_{number}", NOW + 300 * number)
    assert _told(sources) == [
        "24 keys first used from n, 6 of them within 30 minutes: " + ", ".join(f"key_{number}" for number in range(24))
    ]
    later = NOW + 300 * 23 + 1900
    sources.key_began(NETWORK, "key_late", later)
    (told,) = _told(sources)
    assert told.startswith("25 keys first used from n, 1 of them within 30 minutes: key_0, ") and told.endswith(", key_23, key_late")
    sources.lower(NOW + 300 * 23 + 3600)
    assert _told(sources) == []
    sources.key_began(NETWORK, "key_next", later + 1801)
    assert set(sources.by_number[7].keys) == {"key_next"}


@pytest.mark.parametrize(("more", "after", "is_told"), [(18, 599, False), (19, 599, True), (19, 600, False)])
def test_guesses_of_a_network_are_counted_over_ten_minutes(more: int, after: int, is_told: bool) -> None:
    sources = Sources(Thresholds())
    sources.failed(NETWORK, 1, NOW)
    sources.failed(NETWORK, more, NOW + after)
    assert _told(sources) == ["20 requests with unknown keys from n within 10 minutes"] * is_told


@pytest.mark.parametrize(("more", "after", "is_told"), [(298, 299, False), (299, 299, True), (299, 300, False)])
def test_guesses_from_everywhere_are_counted_over_five_minutes(more: int, after: int, is_told: bool) -> None:
    sources = Sources(Thresholds())
    sources.failed(NETWORK, 1, NOW)
    for number in range(more):
        sources.failed(Network(100 + number, "x"), 1, NOW + after)
    assert _told(sources, EVERYWHERE) == ["300 requests with unknown keys from all networks together within 5 minutes"] * is_told
    assert _told(sources) == []


def test_no_more_than_ten_minutes_of_failures_are_remembered() -> None:
    sources = Sources(Thresholds())
    for minute in range(30):
        sources.failed(NETWORK, 1, NOW + 60 * minute)
        assert list(sources.by_number[7].failures.values()) == [1] * min(minute + 1, 10)
    sources.failed(NETWORK, 11, NOW + 60 * 30)
    assert _told(sources) == ["20 requests with unknown keys from n within 10 minutes"]


def test_a_signal_of_a_network_lasts_from_when_it_was_last_seen_and_says_the_latest() -> None:
    sources = Sources(Thresholds())
    sources.failed(NETWORK, 20, NOW)
    sources.failed(NETWORK, 5, NOW + 100)
    (up,) = sources.by_number[7].raised.values()
    assert (up.since, up.until) == (NOW, NOW + 3700)
    assert up.evidence.startswith("25 requests")


def test_what_changed_is_told_once_and_nothing_else() -> None:
    sources = Sources(Thresholds())
    for number in (1, 2, 3):
        sources.failed(Network(number, f"n{number}"), 30 * (number < 3), NOW)
    assert sources.changed == {1, 2}
    sources.changed.clear()
    sources.acknowledge("n1", NOW + 10)
    assert sources.changed == {1}
    sources.changed.clear()
    sources.lower(NOW + 3600)
    assert sources.changed == {2}
    sources.clear()
    assert (sources.by_number, sources.changed) == ({}, set())


def test_what_is_remembered_over_a_restart_is_recent_up_or_silenced() -> None:
    sources = Sources(Thresholds())
    sources.failed(Network(1, "up"), 20, NOW)
    sources.failed(Network(2, "old"), 1, NOW)
    sources.failed(Network(3, "recent"), 1, NOW + 1)
    sources.failed(Network(4, "silent"), 1, NOW)
    sources.failed(Network(5, "no more silent"), 1, NOW)
    sources.mute(Network(4, "silent"), NOW + 1801, NOW)
    sources.mute(Network(5, "no more silent"), NOW + 1800, NOW)
    assert set(sources.recent(NOW + 1800)) - {EVERYWHERE.number} == {1, 3, 4}


def test_a_network_with_a_signal_is_forgotten_after_those_without() -> None:
    sources = Sources(Thresholds(), capacity=3)
    sources.key_began(Network(1, "first"), "key", NOW)
    for key in KEYS[:5]:
        sources.key_began(Network(1, "first"), key, NOW)
    sources.key_began(Network(2, "second"), "key", NOW)
    sources.key_began(Network(3, "third"), "key", NOW)
    sources.key_began(Network(4, "fourth"), "key", NOW)
    assert set(sources.by_number) == {1, 3, 4}
    for number in (3, 4):
        for key in KEYS[:5]:
            sources.key_began(Network(number, "x"), key, NOW)
    sources.key_began(Network(5, "fifth"), "key", NOW)
    assert set(sources.by_number) == {3, 4, 5}


def test_a_network_that_had_to_make_room_leaves_no_episode_open_for_ever() -> None:
    life = Life(days=0)
    life.observer.sources = Sources(life.observer.thresholds, capacity=20)
    for number in range(30):
        life.see(refused(life.later(1), "invalid_api_key", 30, client=f"10.0.{number}.1", key=NO_KEY))
    assert len(life.observer.sources.by_number) == 20
    life.idle(2 * HOUR)
    life.idle(7 * HOUR)
    assert life.observer.episodes.open == {}


def test_a_network_that_is_not_remembered_is_muted_and_one_that_need_not_be_is_not_begun() -> None:
    sources = Sources(Thresholds())
    sources.mute(Network(7, "n"), NOW, NOW)
    sources.acknowledge("n", NOW)
    assert sources.by_number == {}
    sources.mute(Network(7, "n"), NOW + 1, NOW)
    assert (sources.by_number[7].muted_until, sources.by_number[7].last, sources.changed) == (NOW + 1, NOW, {7})
    sources.failed(Network(7, "n"), 100, NOW)
    assert not sources.by_number[7].raised
    sources.failed(Network(7, "n"), 100, NOW + 1)
    assert sources.by_number[7].raised


def test_a_network_that_is_remembered_by_another_of_its_prefixes_is_muted_and_heard_again() -> None:
    sources = Sources(Thresholds())
    sources.failed(Network(7, "10.0.0.0/24 (AS1)"), 100, NOW)
    sources.mute(Network(7, "10.0.1.0/24 (AS1)"), NOW + 10, NOW)
    assert (sources.by_number[7].name, sources.by_number[7].raised, sources.by_number[7].muted_until) == ("10.0.0.0/24 (AS1)", {}, NOW + 10)
    sources.mute(Network(7, "10.0.1.0/24 (AS1)"), NOW, NOW)
    assert sources.by_number[7].muted_until == NOW


def test_an_acknowledgement_ends_no_mute_and_lets_nothing_rise_from_what_was_before() -> None:
    sources = Sources(Thresholds())
    for number, until in ((1, NOW + 100), (2, NOW - 100)):
        sources.mute(Network(number, f"n{number}"), until, NOW - 200)
        sources.acknowledge(f"n{number}", NOW)
    assert [sources.by_number[number].muted_until for number in (1, 2)] == [NOW + 100, NOW]


def test_a_muted_network_is_forgotten_after_those_that_are_not() -> None:
    sources = Sources(Thresholds(), capacity=3)
    sources.mute(Network(1, "muted"), NOW + 10, NOW)
    for number in (2, 3, 4):
        sources.failed(Network(number, "x"), 1, NOW + 9)
    assert set(sources.by_number) == {EVERYWHERE.number, 1, 4}
    for number in (5, 6):
        sources.failed(Network(number, "x"), 1, NOW + 10)
    assert 1 not in sources.by_number
