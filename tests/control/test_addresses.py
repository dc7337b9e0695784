from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.control.addresses import LEARN_EVERY, SALT_FILE, Addresses, SharedSalt, load_salt
from sidecar.control.folding.spools import Spools
from sidecar.control.metering import Metering, compose
from sidecar.control.pulse import Pulse
from sidecar.control.salt import HASHES, NUMBERS, Salt
from sidecar.control.workers import Workers
from sidecar.events.record import Request
from sidecar.events.wire import decode, encode
from sidecar.settings import Settings
from sidecar.settings.declaration import Log
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable
from tests.control.support.events import request, state
from tests.support.keys import OLDER_PEPPER, PEPPER, Clock, Keys, open_keys

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


async def replica(keys: Keys, data_dir: Path) -> Metering:
    """The fold of one replica, as it is when the store has answered."""

    async def nothing() -> None:
        return

    (data_dir / "spool").mkdir(parents=True)
    settings, clock = Settings(data_dir=str(data_dir), log=Log(client_address="hash")), Clock()
    pulse = Pulse(keys.store, keys.adoption, first=nothing, again=nothing)
    workers = Workers(clock, since=clock.now)
    metering = compose(settings, keys.store, Spools(data_dir / "spool"), pulse, workers, (), digester=keys.digester)
    await metering.fold.restore()
    return metering


async def test_a_client_has_one_hash_in_the_call_log_whichever_replica_it_came_to(store: Store, tmp_path: Path) -> None:
    keys, record = await open_keys(store, tmp_path), encode(request(client=CLIENT))
    before = load_salt(tmp_path / "one")
    one, other, later = [await replica(keys, tmp_path / name) for name in ("one", "two", "three")]
    assert one.fold._redact([record]) == other.fold._redact([record]) == later.fold._redact([record]) != [record]
    assert load_salt(tmp_path / "one") == load_salt(tmp_path / "two") == before, "what stands in the log already stays comparable"


class _Learning:
    """A replica that learns the salt; `clock` counts seconds."""

    def __init__(self, store: Store, data_dir: Path, *peppers: Any) -> None:
        self.clock = Clock()
        salt = load_salt(data_dir)
        self.addresses = Addresses("hash", salt)
        self.shared = SharedSalt(self.addresses, Salt(store, *peppers, use=HASHES, first=salt), data_dir, self.clock)

    async def hash(self) -> str:
        await self.shared.learn()
        return self.addresses.client(CLIENT)


async def test_a_store_that_is_away_keeps_nobody_from_hashing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = await _Learning(store, tmp_path / "one", PEPPER).hash()
    other = _Learning(store, tmp_path / "two", PEPPER)

    asked = []

    async def away(*command: Any) -> None:
        asked.append(command)
        raise StoreUnavailable("away")

    with monkeypatch.context() as during:
        during.setattr(store, "call", away)
        assert await other.hash() != alike
    assert await other.hash() == alike
    asked.clear()
    with monkeypatch.context() as during:
        during.setattr(store, "call", away)
        for _ in range(9):
            other.clock.now += LEARN_EVERY / 3
            assert await other.hash() == alike
    assert len(asked) == 3, "once it is known, nobody waits for it each time"


async def test_a_store_that_was_emptied_gets_the_salt_again(store: Store, tmp_path: Path) -> None:
    one = _Learning(store, tmp_path / "one", OLDER_PEPPER)
    alike = await one.hash()
    await store.call("FLUSHALL")
    one.clock.now += LEARN_EVERY
    assert await one.hash() == alike
    assert await _Learning(store, tmp_path / "two", PEPPER, OLDER_PEPPER).hash() == alike
    assert await _Learning(store, tmp_path / "three", PEPPER).hash() == alike


async def test_the_two_salts_of_a_store_are_wrapped_apart(store: Store) -> None:
    """Else what is stored of both would tell how they differ."""
    known = bytes(32)
    for use in (HASHES, NUMBERS):
        await Salt(store, PEPPER, use=use, first=known).read()
    hashes, numbers = [await store.call("HGET", name, PEPPER.id) for name in (names.ADDRESS_SALTS, names.ANOMALY_SALTS)]
    assert hashes != numbers
