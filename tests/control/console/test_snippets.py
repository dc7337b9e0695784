"""First calls: they name the address at which the reader reaches the data plane, and parse as what they are."""

from __future__ import annotations

import json
import shlex

import pytest

from sidecar.control.console.app import build
from sidecar.control.console.snippets import curl, node, proxy_address
from sidecar.control.usage.overview import Overview
from sidecar.hubs import protocol
from sidecar.hubs.load import load_profile
from sidecar.hubs.profile import Profile
from sidecar.settings import Settings
from sidecar.settings.declaration import Proxy, Tls
from sidecar.settings.values import Listen
from tests.control.console.conftest import Console
from tests.support.keys import PEPPER


@pytest.mark.parametrize(
    ("listen", "host", "address"),
    [
        ("0.0.0.0:8080", "hub.example:8081", "http://hub.example:8080"),
        ("0.0.0.0:8080", "[::1]:8081", "http://[::1]:8080"),
        ("127.0.0.1:8080", "hub.example", "http://127.0.0.1:8080"),
        ("unix:///run/s", "hub.example", "http://localhost"),
    ],
)
def test_the_address(listen: str, host: str, address: str) -> None:
    assert proxy_address(Settings(proxy=Proxy(listen=Listen.parse(listen))), host) == address
    secure = Settings(proxy=Proxy(listen=Listen.parse("0.0.0.0:443"), tls=Tls(certificate_file="c", key_file="k")))
    assert proxy_address(secure, "hub.example") == "https://hub.example:443"


async def test_the_profile_is_read_once_for_the_whole_console(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second, in which the control process does not answer yet."""
    read: list[str] = []

    def counted(name: str) -> Profile:
        read.append(name)
        return load_profile(name)

    monkeypatch.setattr(protocol, "load_profile", counted)
    build(console.services, console.store, PEPPER, Overview(console.store, console.services.usage))  # type: ignore[arg-type]
    assert read == [console.services.settings.hub.profile]


def test_curl_is_one_command() -> None:
    words = shlex.split(curl("aigne", "http://h:1", "ahk_x").replace("\\\n", " "))
    assert words[:2] == ["curl", "http://h:1/api/v2/chat"] and "Authorization: Bearer ahk_x" in words
    assert json.loads(words[words.index("-d") + 1])["input"]["modelOptions"]["model"]
    assert shlex.split(curl("openai", "http://h:1", "k").replace("\\\n", " "))[1].endswith("/v1/chat/completions")
    assert "-d" not in curl("", "http://h:1", "k")


def test_programs_read_the_key_from_their_environment() -> None:
    for spoken in ("aigne", "openai", ""):
        text = node(spoken, "http://h:1")
        assert "process.env.SIDECAR_API_KEY" in text and "http://h:1" in text and "{{" not in text
