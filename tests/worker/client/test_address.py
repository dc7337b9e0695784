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
