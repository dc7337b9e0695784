from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.refusals import Refused
from sidecar.settings.values import Duration, HubUrl, Listen, Secret, Size, StoreUrl, WebhookUrl
from sidecar.worker.client.target import parse_target


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("30s", 30), ("5m", 300), ("24h", 86400), ("7d", 604800), ("1.5s", 1.5)])
def test_durations(text: str, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1 s", "1w", "1e3s", "٣s0"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and a unit"):
        Duration.parse(text)


@given(st.integers(1, 10**9))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    assert Duration.parse(str(Duration(milliseconds / 1000))) == milliseconds / 1000


@given(st.integers(0, 1 << 50))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert Size.parse(str(Size(size))) == size


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("0.0.0.0:8080", "0.0.0.0", 8080, ""),
        ("[::1]:80", "::1", 80, ""),
        ("localhost:1", "localhost", 1, ""),
        ("unix:///a/b", "", 0, "/a/b"),
    ],
)
def test_addresses(text: str, host: str, port: int, path: str) -> None:
    listen = Listen.parse(text)
    assert (listen.host, listen.port, listen.path, str(listen)) == (host, port, path, text)


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "host:", "host:x", "host:65536", "host:²", "host:٣", "host:" + "9" * 5000, "unix://relative"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="unix:///path"):
        Listen.parse(text)


@pytest.mark.parametrize("text", ["http://0.0.0.0:80", "tcp://host:80", "*:80", "a b:80", "host:80:80", "0.0.0.0/0:80", "[]:80"])
def test_what_can_be_no_host_is_told_before_anything_is_started(text: str) -> None:
    with pytest.raises(ValueError, match="names no host"):
        Listen.parse(text)


@pytest.mark.parametrize(
    "text", ["127.0.0..1:80", ".example:80", f"{'x' * 64}.example:80", "a\0b:80", "\ud800:80", "unix:///a\0b", "unix:///\udcff"]
)
def test_what_the_system_cannot_be_asked_for_is_no_address(text: str) -> None:
    """Whoever tries to listen there gets no OSError, and so would end."""
    with pytest.raises(ValueError, match=r"names no host|has a character that no path can have") as caught:
        Listen.parse(text)
    assert not isinstance(caught.value, UnicodeError)


@pytest.mark.parametrize(
    ("text", "host", "port", "mount"),
    [
        ("http://127.0.0.1:3000/", "127.0.0.1", 3000, ""),
        ("https://hub.example/ai-kit/", "hub.example", 443, "/ai-kit"),
        ("http://[::1]/x/y", "::1", 80, "/x/y"),
        ("http://[fe80::1%eth0]/", "fe80::1%eth0", 80, ""),
        ("http://Hub_1.example./", "hub_1.example.", 80, ""),
        ("http://hüb.example:81/", "xn--hb-xka.example", 81, ""),
        ("unix:///run/hub.sock", "", 0, ""),
    ],
)
def test_hub_addresses(text: str, host: str, port: int, mount: str) -> None:
    url = HubUrl.parse(text)
    assert (url.host, url.port, url.mount) == (host, port, mount)


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:3000", "ftp://x/", "http://", "http://x/?q", "http://x/#f", "http://user:canary@x/", "http://x:99999/", "http://x:0/"],
)
def test_what_is_no_hub_address(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        HubUrl.parse(text)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["unix://run/hub.sock", "unix://hub.sock", "unix:run/hub.sock", "unix:///run/hub.sock?x", "unix:///run/a#b", "unix://"]
)
def test_the_socket_of_a_hub_is_an_absolute_path(text: str) -> None:
    with pytest.raises(ValueError, match="unix:///path"):
        HubUrl.parse(text)
    assert HubUrl.parse("unix:///run/hub.sock").socket == "/run/hub.sock"


def test_a_socket_has_no_password_that_a_fault_could_show() -> None:
    with pytest.raises(ValueError, match="no user and password") as refused:
        HubUrl.parse("unix://user:canary@/run/hub.sock")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "host", ["hub..example", ".example", "a b", "a\u3000b", "a%20b", "x" * 64, "ü" * 64, "hub\\evil", "a;b", "*", '"hub"']
)
def test_a_host_that_nothing_can_be_called_is_no_hub_address(host: str) -> None:
    """Every call would fail in the resolver, or bring the hub a Host header that is none."""
    for text in (f"http://{host}/", f"https://{host}:3000/ai-kit"):
        with pytest.raises(ValueError, match="is no host; write a name"):
            HubUrl.parse(text)


@pytest.mark.parametrize(
    "text", ["", "hooks.example/x", "ftp://hooks.example/canary", "https://", "http://h:99999/canary", "http://h:0/", "http://h:canary/"]
)
def test_what_is_no_webhook(text: str) -> None:
    with pytest.raises(ValueError, match="webhook") as refused:
        WebhookUrl.parse(text)
    assert "canary" not in str(refused.value)
    assert WebhookUrl.parse("https://h:8443/x").reveal() == "https://h:8443/x"


PATHS = (
    "", "/", "/ai-kit", "/ai-kit/", "/a/b//", "/a%20b", "/%C3%A9", "/a;v=1/b", "/.well-known", "/a..b", "/~u/@x", "/a b/", "/é/", "/a%", "/a%2",
    "/a%zz", "/a//b", "//a", "/a/../b", "/..", "/.", "/a/.", "/a/%2e%2E/b", "/a%2f", "/a%2F%2fb", "/a%2f..", "/a%00", "/a%5c", "/a\\b", "/a|b", "/a^b",
    "/..;x/a",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_the_mount_prefix_is_a_path_that_a_client_could_ask_for(path: str) -> None:
    """Every call would get the hub's refusal otherwise, and the configuration would be called good."""
    try:
        parse_target(b"GET", f"{path.rstrip('/')}/x".encode(), b"")
    except Refused:
        with pytest.raises(ValueError, match="percent-encode"):
            HubUrl.parse(f"http://hub.test{path}")
    else:
        assert HubUrl.parse(f"http://hub.test{path}").mount == path.rstrip("/")


def test_a_secret_is_never_printed() -> None:
    for secret in (Secret("canary"), StoreUrl.parse("redis://u:canary@h")):
        for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>20}", "%s" % secret, repr([secret])):  # noqa: UP031
            assert "canary" not in shown
        assert "canary" in secret.reveal()
