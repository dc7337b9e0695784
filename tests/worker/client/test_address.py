"""Who the client is, by peer, trusted networks and X-Forwarded-For."""

from __future__ import annotations

import pytest

from sidecar.worker.client.address import ClientAddress

TRUSTED = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "expected"),
    [
        ((), "203.0.113.9", ["6.6.6.6"], "203.0.113.9"),
        (TRUSTED, "203.0.113.9", ["6.6.6.6"], "203.0.113.9"),
        (TRUSTED, "10.0.0.1", [], "10.0.0.1"),
        (TRUSTED, "10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        (TRUSTED, "10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (TRUSTED, "10.0.0.1", ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        (TRUSTED, "10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
        (TRUSTED, "10.0.0.1", ["198.51.100.7, nonsense, 10.0.0.3"], "10.0.0.3"),
        (TRUSTED, "10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        (TRUSTED, "10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        (TRUSTED, "fd00::1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        (TRUSTED, "10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        (TRUSTED, "", ["198.51.100.7"], "198.51.100.7"),
        ((), "", ["198.51.100.7"], ""),
    ],
)
def test_only_trusted_proxies_are_believed(trusted: tuple[str, ...], peer: str, forwarded: list[str], expected: str) -> None:
    assert ClientAddress(trusted).of(peer, [value.encode() for value in forwarded]) == expected


def test_a_network_may_be_written_as_an_address_in_it() -> None:
    assert ClientAddress(("10.1.2.3/8",)).of("10.9.9.9", [b"198.51.100.7"]) == "198.51.100.7"


@pytest.mark.parametrize("peer", ["10.9.9.9", "::ffff:10.9.9.9"])
@pytest.mark.parametrize("network", ["::ffff:10.9.9.9", "::ffff:10.0.0.0/104", "10.0.0.0/8"])
def test_a_proxy_is_believed_in_whichever_form_a_socket_of_both_protocols_tells_its_address(network: str, peer: str) -> None:
    assert ClientAddress((network,)).of(peer, [b"198.51.100.7"]) == "198.51.100.7"


def test_whoever_connects_is_believed_only_where_that_is_said() -> None:
    assert ClientAddress((), behind_proxy=True).of("203.0.113.9", [b"198.51.100.7"]) == "198.51.100.7"
    assert ClientAddress((), behind_proxy=False).of("203.0.113.9", [b"198.51.100.7"]) == "203.0.113.9"


def test_bytes_that_are_no_text_are_nonsense() -> None:
    assert ClientAddress(TRUSTED).of("10.0.0.1", [b"\xff\xfe"]) == "10.0.0.1"


def test_what_was_found_is_remembered_for_one_short_field_and_bounded() -> None:
    address = ClientAddress(TRUSTED)
    long, longer = b"198.51.100.7" + b" " * 52, b"198.51.100.7" + b" " * 53
    for fields, kept in (([b"198.51.100.7", b"198.51.100.8"], 0), ([longer], 0), ([long], 1), ([b"198.51.100.9"], 2)):
        for _ in range(2):
            # The second time it is remembered, and the same.
            assert address.of("10.0.0.1", fields) == fields[-1].decode().strip()
        assert len(address._remembered) == kept
    for number in range(2, 8192):
        address.of("10.0.0.1", [b"198.51.%d.%d" % divmod(number, 256)])
    assert len(address._remembered) == 8192
    assert address.of("10.0.0.1", [b"203.0.113.7"]) == "203.0.113.7"
    assert len(address._remembered) == 1
