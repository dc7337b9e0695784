from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.control.addresses import SALT_FILE, Addresses, load_salt
from sidecar.events.record import Request
from sidecar.events.wire import decode, encode
from tests.control.support.events import request, state

CLIENT = "203.0.113.77"


@pytest.mark.parametrize(
    ("form", "client", "network"), [("full", CLIENT, "203.0.113.0/24"), ("network", "203.0.113.0/24", "203.0.113.0/24")]
)
def test_forms(form: str, client: str, network: str) -> None:
    addresses = Addresses(form, b"s")  # type: ignore[arg-type]
    assert (addresses.client(CLIENT), addresses.network(CLIENT)) == (client, network)


def test_a_hash_says_nothing_but_tells_apart() -> None:
    addresses = Addresses("hash", b"s")
    made = {addresses.client(f"203.0.113.{number}") for number in range(50)}
    assert len(made) == 50
    assert "113.77" not in addresses.client(CLIENT)
    assert len({addresses.network(f"203.0.113.{number}") for number in range(50)}) == 1
    assert addresses.client(CLIENT) != Addresses("hash", b"t").client(CLIENT)
    assert addresses.client("") == ""


def test_requests_are_rewritten_and_other_records_are_not() -> None:
    event = request(client=CLIENT)
    records = [encode(event), encode(state()), b"\xc1"]
    assert Addresses("full", b"s").redact(records) is records
    record, *others = Addresses("network", b"s").redact(records)
    assert others == records[1:]
    stored = decode(record)
    assert isinstance(stored, Request)
    assert stored.client == "203.0.113.0/24"
    assert (stored.request_id, stored.tokens) == (event.request_id, event.tokens)


def test_the_salt_stays(tmp_path: Path) -> None:
    salt = load_salt(tmp_path)
    assert len(salt) == 32
    assert load_salt(tmp_path) == salt
    assert next(tmp_path.iterdir()).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", [b"", b"half"])
def test_what_a_crash_left_of_a_salt_is_none(tmp_path: Path, left: bytes) -> None:
    (tmp_path / SALT_FILE).write_bytes(left)
    salt = load_salt(tmp_path)
    assert len(salt) == 32 and salt != load_salt(tmp_path / "another")
    assert load_salt(tmp_path) == salt
    assert (tmp_path / SALT_FILE).stat().st_mode & 0o777 == 0o600
