from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest

from sidecar.settings import document
from sidecar.settings.schema import schema
from tests.support.source import ROOT

VALIDATOR = jsonschema_rs.validator_for(schema())
SHAPELESS = {
    "not_yaml",
    "control_character",
    "twice",
    "secret_twice",
    "secret_file",
    "header_unsafe",
    "unset",
    "cross",
    "one_port",
    "store_url_cut",
    "endless",
    "multiplied",
    "zero",
}
"""Bad files whose fault a schema cannot see."""
BAD = sorted(Path(__file__).with_name("bad").glob("*.yaml"))


def test_the_example_is_valid() -> None:
    VALIDATOR.validate(document.parse((ROOT / "config/sidecar.yaml").read_text()))


@pytest.mark.parametrize("file", [file for file in BAD if file.stem not in SHAPELESS], ids=lambda file: file.stem)
def test_it_refuses_what_the_loader_refuses(file: Path) -> None:
    assert not VALIDATOR.is_valid(document.parse(file.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hub: {access_key_file: /run/secrets/key, max_connections: '${N}'}",
        "proxy: {workers: auto, tls: {certificate_file: a, key_file: b}, trusted_proxies: [10.0.0.0/8]}",
        "proxy: {tls: null, bounds: {body: 1048576}}",
        "store: {url: 'redis+cluster://a:1,b:2'}",
        "enforcement: off",
    ],
)
def test_it_allows_what_the_loader_allows(text: str) -> None:
    VALIDATOR.validate(document.parse(text) or {})
