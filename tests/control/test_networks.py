from __future__ import annotations

import pytest

from sidecar.control.networks import MAX_NETWORKS, MAX_SOURCES, Networks, network_of


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("hash:00ff", "hash:00ff"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_networks_of_clients(client: str, network: str) -> None:
    assert network_of(client) == network


def test_networks_of_a_key_are_forgotten_after_ten_minutes() -> None:
    networks = Networks()
    for number in range(100):
        networks.seen("k", f"10.0.{number}.1", 1000 + number)
    assert networks.count("k") == MAX_NETWORKS
    networks.forget(1000 + 600 + 10)
    assert networks.count("k") == MAX_NETWORKS - 10
    networks.forget(5000)
    assert networks.count("k") == 0


def test_what_is_long_over_takes_no_place_though_nobody_asked_meanwhile() -> None:
    """As while Prometheus was away: the first scrape after that must not miss what happens now."""
    networks = Networks()
    for number in range(MAX_NETWORKS):
        networks.seen("k", f"10.0.{number}.1", 1000)
        networks.seen(f"k{number}", "10.9.0.1", 1000)
    for number in range(5):
        networks.seen("k", f"10.1.{number}.1", 1000 + 601)
        networks.seen(f"other{number}", "10.9.0.1", 1000 + 601)
    networks.forget(1000 + 602)
    assert (networks.count("k"), networks.many_keys()) == (5, 1)


def test_networks_are_forgotten_in_time_though_a_clock_was_put_back() -> None:
    networks = Networks()
    for number in range(5):
        networks.seen(f"k{number}", "10.0.0.1", 5000)
    networks.forget(5000 - 300)
    assert (networks.count("k0"), networks.many_keys()) == (1, 1)
    networks.forget(5000 - 3600)
    assert (networks.count("k0"), networks.many_keys()) == (0, 0)


def test_a_source_of_many_keys_stands_out() -> None:
    networks = Networks()
    for number in range(4):
        networks.seen(f"k{number}", "10.0.0.1", 1000)
    assert networks.many_keys() == 0
    networks.seen("k9", "10.0.0.2", 1000)
    assert networks.many_keys() == 1


def test_memory_is_bounded() -> None:
    networks = Networks()
    for number in range(MAX_SOURCES + 500):
        networks.seen("k", f"{number // 65536}.{number // 256 % 256}.{number % 256}.1", 1000)
    assert len(networks._by_source) == MAX_SOURCES
