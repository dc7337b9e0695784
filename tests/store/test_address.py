"""`store.url` in all its forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.settings import declaration
from sidecar.settings.values import Secret, StoreUrl
from sidecar.store.address import Address, resolve
from sidecar.store.embedded import embedded_socket


def address(url: str, password: str = "") -> Address:
    return resolve(declaration.Store(url=StoreUrl.parse(url), password=Secret(password)), Path("/data"))


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("embedded", {"path": "/data/store/store.sock"}),
        ("unix:///run/a%20b.sock?db=2", {"path": "/run/a b.sock", "db": 2}),
        (
            "unix://u:p%2Fw@/run/a.sock",
            {"path": "/run/a.sock", "username": "u", "password": "p/w"},
        ),
        ("redis://host", {"host": "host", "port": 6379}),
        ("redis://u:p%40ss@host:1/3", {"host": "host", "port": 1, "db": 3, "username": "u", "password": "p@ss"}),
        ("redis://:p@[::1]:7", {"host": "::1", "port": 7, "password": "p"}),
        ("rediss://host?ca_file=/ca.pem", {"host": "host", "port": 6379, "ssl": True, "ssl_ca_certs": "/ca.pem"}),
    ],
)
def test_one_server(url: str, options: dict[str, Any]) -> None:
    assert address(url) == Address("single", options)
    assert not address(url).fails_over


def test_several_servers() -> None:
    found = address("redis+sentinel://u:p@a:1,b/keys/2?tls=true&sentinel_password=s")
    assert found == Address(
        "sentinel",
        {"username": "u", "password": "p", "ssl": True, "db": 2},
        (("a", 1), ("b", 26379)),
        "keys",
        {"ssl": True, "password": "s"},
    )
    assert found.patience > address("redis://a").patience
    assert address("redis+cluster://:p@a:1,b") == Address("cluster", {"password": "p"}, (("a", 1), ("b", 6379)))
    assert found.fails_over


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("?sentinel_tls=false", {}),
        ("?tls=true", {"ssl": True}),
        ("?tls=true&sentinel_tls=true&ca_file=/ca.pem", {"ssl": True, "ssl_ca_certs": "/ca.pem"}),
        ("?tls=true&sentinel_tls=false&ca_file=/ca.pem", {}),
    ],
)
def test_sentinels_are_asked_as_the_servers_are_unless_told_otherwise(query: str, options: dict[str, Any]) -> None:
    assert address(f"redis+sentinel://a/keys{query}").sentinel_options == options


def test_the_password_of_its_own_setting_wins() -> None:
    for url in ("embedded", "redis://u:p@h", "redis+sentinel://:p@h/keys", "redis+cluster://:p@h"):
        assert address(url, "other").options["password"] == "other"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+sentinel://a:1", "names no service"),
        ("redis+sentinel:///keys", "names no host"),
        ("redis+cluster://", "names no host"),
        ("redis://h/x", "a database is a number"),
        ("redis://h/²", "a database is a number"),
        ("redis://h?socket_timeout=5", "does not know"),
        ("redis://h?tls=true", "write rediss://"),
        ("redis://h?ca_file=/ca.pem", "clear text"),
        ("redis+cluster://h/3", "a cluster has but one"),
        ("redis+cluster://h?db=0", "a cluster has but one"),
        ("redis+cluster://h?sentinel_tls=false", "only redis\\+sentinel"),
        ("rediss://h?sentinel_password=hunter2", "only redis\\+sentinel"),
        ("redis+sentinel://h/keys?sentinel_tls=true", "without tls=true"),
        ("redis+sentinel://h/keys?tls=true&sentinel_tls=1", "neither true nor false"),
        ("redis+sentinel://h/keys?tls=yes", "neither true nor false"),
        ("redis+cluster://h?ca_file=/ca.pem", "clear text"),
        ("redis://h:x", "a port that is no number"),
        ("redis+cluster://a:1,b:99999", "a port that is no number"),
    ],
)
def test_a_url_that_makes_no_sense(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        address(url)


@pytest.mark.parametrize(
    "url", ["unix://run/redis.sock", "unix://", "unix:run/redis.sock", "unix://u:hunter2@run/x.sock", "unix://u:hunter2/2@/run/x"]
)
def test_a_socket_is_an_absolute_path(url: str) -> None:
    with pytest.raises(ValueError, match="unix:///path") as refused:
        address(url)
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize("mark", "/?#")
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
def test_a_password_that_cuts_the_url_in_two_is_told_and_not_shown(scheme: str, mark: str) -> None:
    for password in (f"hunter{mark}hunter", f"6379{mark}hunter", f"6379{mark}1", f"a@6379{mark}hunter=2"):
        with pytest.raises(ValueError, match="%2F") as refused:
            address(f"{scheme}://u:{password}@host/keys")
        assert "hunter" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_what_stands_in_the_query_may_hold_an_at_sign() -> None:
    assert address("redis+sentinel://a/keys?sentinel_password=p@s").sentinel_options == {"password": "p@s"}
    assert address("rediss://h?ca_file=/run/credentials/a@b.service/ca").options["ssl_ca_certs"] == "/run/credentials/a@b.service/ca"


@pytest.mark.parametrize("password", ["a+b", "a b", "a;b", "a=b", "a/b?c#d@e", "a&b", "50%", "%41", "ü"])
def test_a_password_of_sentinels_is_read_as_that_of_the_servers_is(password: str) -> None:
    written = password
    for mark in "%/?#@&":
        written = written.replace(mark, f"%{ord(mark):02X}")
    found = address(f"redis+sentinel://u:{written}@a/keys?sentinel_password={written}")
    assert found.options["password"] == found.sentinel_options["password"] == password


@pytest.mark.parametrize("query", ["sentinel%5Fpassword=hunter2", "sentinel_password=hunter&hunter2", "sentinel_password=a&hunter2=1"])
def test_a_name_in_the_query_is_written_plainly(query: str) -> None:
    with pytest.raises(ValueError, match=r"does not know .*%26") as refused:
        address(f"redis+sentinel://a/keys?{query}")
    assert "hunter" not in str(refused.value)


def test_what_is_left_empty_in_the_query_is_left_out() -> None:
    assert address("redis+cluster://a?db=&tls=&ca_file=") == address("redis+cluster://a")


def test_no_password_shows_itself() -> None:
    assert "hunter2" not in repr(address("redis+sentinel://:hunter2@a/keys?sentinel_password=hunter2"))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://:hunter2@h/3", "h:6379"),
        ("unix:///run/store.sock", "/run/store.sock"),
        ("embedded", str(embedded_socket(Path("/data")))),
        ("redis+sentinel://u:hunter2@a,b:7/keys", "a:26379, b:7"),
    ],
)
def test_the_place_to_look_at_holds_no_credential(url: str, place: str) -> None:
    assert address(url).place == place


def test_the_embedded_store_is_where_it_is_started() -> None:
    assert address("embedded").options["path"] == str(embedded_socket(Path("/data")))
