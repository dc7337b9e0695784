"""What `sidecar authz` makes of the settings."""

from __future__ import annotations

import pytest

from sidecar.cli.authz import as_authorizer
from sidecar.settings import SettingsError, load


def test_workers_listen_where_the_proxy_asks_in_clear_text() -> None:
    environment = {
        "SIDECAR_AUTHZ__LISTEN": "unix:///run/authz.sock",
        "SIDECAR_PROXY__TLS__CERTIFICATE_FILE": "/etc/cert",
        "SIDECAR_PROXY__TLS__KEY_FILE": "/etc/key",
    }
    proxy = as_authorizer(load(None, environment)).proxy
    assert str(proxy.listen) == "unix:///run/authz.sock"
    assert proxy.tls is None


@pytest.mark.parametrize(
    ("listen", "fault"),
    [
        ("127.0.0.1:8081", "authz.listen: is the address of admin.listen too|admin.listen: is the address of authz.listen too"),
        ("127.0.0.1:9464", "metrics.listen: is the address of authz.listen too"),
        ("127.0.0.1:0", "authz.listen: needs a port"),
        (f"unix:///{'long' * 30}", "authz.listen: the path of a unix socket has at most 107 bytes"),
    ],
)
def test_a_place_that_cannot_be_listened_on_is_named_by_its_own_setting(listen: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as raised:
        as_authorizer(load(None, {"SIDECAR_AUTHZ__LISTEN": listen}))
    assert len(raised.value.faults) == 1


def test_nothing_is_said_of_an_address_that_only_serve_would_use() -> None:
    both = {"SIDECAR_AUTHZ__LISTEN": "127.0.0.1:8080", "SIDECAR_PROXY__LISTEN": "127.0.0.1:8080"}
    assert as_authorizer(load(None, both)).proxy.listen.port == 8080
