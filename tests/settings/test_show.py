from __future__ import annotations

import pytest

from sidecar.settings import Settings, document, load, show
from sidecar.settings.values import StoreUrl


def test_secrets_are_masked_and_everything_else_is_there() -> None:
    environment = {
        "SIDECAR_HUB__ACCESS_KEY": "canary",
        "SIDECAR_STORE__PASSWORD": "canary",
        "SIDECAR_NOTIFICATIONS__WEBHOOKS": "https://me:canary@hooks.example:8443/services/canary?canary, http://pager/canary",
        "SIDECAR_STORE__URL": "rediss://me:canary@host:6380/1",
        "SIDECAR_PROXY__TLS__CERTIFICATE_FILE": "c.pem",
        "SIDECAR_PROXY__TLS__KEY_FILE": "k.pem",
    }
    text = show.as_yaml(load(None, environment))
    assert "canary" not in text
    found = document.parse(text)
    assert found["hub"]["access_key"] == show.MASK
    assert found["store"]["url"] == f"rediss://me:{show.MASK}@host:6380/1"
    assert found["notifications"]["webhooks"] == [f"https://hooks.example:8443/{show.MASK}", f"http://pager/{show.MASK}"]
    assert found["proxy"]["tls"]["key_file"] == "k.pem"
    assert found["proxy"]["timeouts"]["hub_first_byte"] == "10m"
    assert list(found) == list(Settings.__struct_fields__)


def test_what_is_shown_of_the_defaults_can_be_read_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "shown.yaml"
    file.write_text(show.as_yaml(Settings()))
    assert load(file, {}) == Settings()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("embedded", "embedded"),
        ("redis://host", "redis://host"),
        ("redis://:canary@host:1/0", f"redis://:{show.MASK}@host:1/0"),
        ("redis://user@host", "redis://user@host"),
        (
            "redis+sentinel://a:1,b:2/main?sentinel_password=canary&db=1",
            f"redis+sentinel://a:1,b:2/main?sentinel_password={show.MASK}&db=1",
        ),
        ("redis+sentinel://a/main?sentinel%5Fpassword=canary&db=1", f"redis+sentinel://a/main?sentinel%5Fpassword={show.MASK}&db=1"),
        ("redis+sentinel://a/main?sentinel_p%61ssword=canary", f"redis+sentinel://a/main?sentinel_p%61ssword={show.MASK}"),
        ("unix:///run/x.sock?db=1", "unix:///run/x.sock?db=1"),
    ],
)
def test_a_store_address_without_its_passwords(url: str, shown: str) -> None:
    assert show.without_password(StoreUrl.parse(url)) == shown
