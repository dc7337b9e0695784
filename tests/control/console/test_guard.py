"""Where a request may come from and where a sign-in may lead, as tables."""

from __future__ import annotations

import pytest

from sidecar.control.console.guard import HOME, forged, from_another_site, local


@pytest.mark.parametrize(
    ("headers", "wrong"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": ""}, True),
        ({"Origin": "http://127.0.0.1:8081"}, False),
        ({"Origin": "https://127.0.0.1:8081"}, False),  # TLS may end in front of the sidecar
        ({"Origin": "http://127.0.0.1:3000"}, True),
        ({"Origin": "http://127.0.0.1"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Origin": "http://["}, True),
    ],
)
def test_forged(headers: dict[str, str], wrong: bool) -> None:
    assert forged(headers, "127.0.0.1:8081") is wrong


def test_links_from_another_site() -> None:
    assert from_another_site({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert not from_another_site({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
    assert not from_another_site({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"})


@pytest.mark.parametrize("path", ["/", "/analytics", "/calls?key=key_1&from=2026-01-01T00:00", "/settings/api-keys/key_1#use"])
def test_ways_that_stay(path: str) -> None:
    assert local(path) == path


@pytest.mark.parametrize(
    "path", ["", "analytics", "//evil", "/\\evil", "/\\/evil", "/a\\b", "https://evil", "/a b", "/a\n", "/\tevil", "\\\\evil", "/é"]
)
def test_ways_that_do_not(path: str) -> None:
    assert local(path) == HOME
