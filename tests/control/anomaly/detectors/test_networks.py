from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.control.anomaly.detectors import networks as module
from sidecar.control.anomaly.detectors.networks import NameForm, Network, Networks, agent_product, place_of, prefix_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("unix", "unix"),
        ("256.1.1.1", "256.1.1.1"),
        ("", "an unknown address"),
        ("x" * 200, "x" * 64),
    ],
)
def test_a_network_is_a_24_or_a_48(address: str, network: str) -> None:
    assert prefix_of(address) == network


@pytest.mark.parametrize(
    ("agent", "product"),
    [
        ("openai-python/1.40.1", "openai-python"),
        ("Mozilla/5.0 (X11)", "mozilla"),
        ("curl", "curl"),
        ("my agent 2", "my"),
        ("tool(x)", "tool"),
        ("tool;x", "tool"),
        ("wow!", "wow!"),
        ("A" * 70 + "/1", "a" * 64),
        ("B" * 70, "b" * 64),
        ("", ""),
    ],
)
def test_a_program_has_no_version(agent: str, product: str) -> None:
    assert agent_product(agent) == product


def test_neighbours_are_one_network_and_the_salt_decides_its_number() -> None:
    one, other = Networks(b"one"), Networks(b"other")
    assert one.of("203.0.113.9") == one.of("203.0.113.200")
    assert one.of("203.0.113.9").number != one.of("203.0.114.9").number
    assert one.of("203.0.113.9").number != other.of("203.0.113.9").number


def test_another_salt_changes_every_number_at_once() -> None:
    networks, other = Networks(b"one"), Networks(b"other")
    before = networks.of("203.0.113.9"), networks.number("model-a")
    networks.use(b"one")
    assert networks.of("203.0.113.9") is before[0]
    networks.use(b"other")
    assert (networks.of("203.0.113.9"), networks.number("model-a")) == (other.of("203.0.113.9"), other.number("model-a"))


def test_hashed_names_show_no_address() -> None:
    network = Networks(b"salt", names="hash").of("203.0.113.9")
    assert network.name == f"network {network.number:08x}"


def test_declared_networks_are_trusted() -> None:
    networks = Networks(b"salt", trusted=["203.0.113.77/25", "2001:db8::/32"])
    trusted = ["203.0.113.9", "2001:db8:9::1", "::ffff:203.0.113.9"]
    assert all(networks.of(address).is_trusted for address in trusted)
    assert not networks.of("198.51.100.1").is_trusted
    assert Networks(b"salt", trusted=["::ffff:203.0.113.77"]).of("::ffff:203.0.113.77").is_trusted
    assert not networks.of("unix").is_trusted
    assert not Networks(b"salt").of("203.0.113.9").is_trusted
    assert not Network(1, "by default").is_trusted
    with pytest.raises(ValueError, match="nonsense"):
        Networks(b"salt", trusted=["nonsense"])


class _Geo:
    def get(self, address: str) -> object:
        if address.startswith("198."):
            raise ValueError(address)
        return {"autonomous_system_number": 64500, "country": {"iso_code": "NL"}} if address.startswith("203.") else None


def test_with_a_geo_file_networks_are_told_apart_by_what_it_says() -> None:
    networks = Networks(b"salt", geo=_Geo())
    assert networks.of("203.0.113.9").number == networks.of("203.0.200.9").number
    assert networks.of("203.0.113.9").name == "203.0.113.0/24 (AS64500 NL)"
    assert networks.of("192.0.2.1").name == "192.0.2.0/24"
    assert networks.of("198.51.100.1").name == "198.51.100.0/24"
    assert place_of({}) == ""
    assert networks.of("203.0.113.9").without_place == Networks(b"salt").of("203.0.113.9").number != networks.of("203.0.113.9").number
    assert networks.of("192.0.2.1").without_place is None


@given(st.text(st.characters()))
@example("\ud800")
def test_a_number_is_of_32_bits_for_any_text(text: str) -> None:
    assert Networks(b"salt").number(text) == Networks(b"salt").number(text) < 1 << 32


def test_what_is_remembered_is_bounded_and_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CACHE", 3)
    networks = Networks(b"salt")
    addresses = [f"203.0.{third}.9" for third in (1, 2, 3, 1)]
    first, *_, again = [networks.of(address) for address in addresses]
    assert first is again and len(networks._known) == len(networks._numbers) == 3
    assert [networks.of(f"198.51.{third}.9").name for third in range(9)] == [f"198.51.{third}.0/24" for third in range(9)]
    assert len(networks._known) <= 3 and len(networks._numbers) <= 3
    assert networks.of(addresses[0]) == first


def test_the_common_form_of_an_address_needs_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ipaddress, "ip_address", None)
    for octet in (0, 9, 10, 99, 100, 199, 200, 249, 250, 255):
        assert prefix_of(f"{octet}.{octet}.{octet}.{octet}") == f"{octet}.{octet}.{octet}.0/24"


@pytest.mark.parametrize("names", ["network", "hash"])
@pytest.mark.parametrize("geo", [None, {"autonomous_system_number": 64500, "country": {"iso_code": "DE"}}])
@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::1", "unix", "network 0123", "a (b)", "10.0.0.0/24 (", ""])
def test_a_network_is_found_again_by_its_name(names: NameForm, geo: object, address: str) -> None:
    class Geo:
        def get(self, address: str) -> object:
            if prefix_of(address) == address or not address:
                raise ValueError(address)
            return geo

    network = Networks(b"salt", names=names, geo=Geo() if geo else None).of(address)
    found = Networks(b"salt", names="network").named(network.name)
    assert (found.number, found.name) == (network.number, network.name)
