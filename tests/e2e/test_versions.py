"""Replicas of two versions on one store: the record before a change and the one after it work together, and so do the replicas."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import sidecar
from sidecar.control.totals.sums import Sums
from sidecar.events.record import Request
from sidecar.events.wire import decode, encode
from sidecar.keys import document
from sidecar.keys.record import Key, Secret
from sidecar.store import names
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

EVENT = Request(
    1.8e9, "req_1", "key_1", "sec_1", "ok", "", 200, 200, "POST", "chat", "/api/v2/chat", "m", "m", "203.0.113.7", "app/1",
    False, "complete", 0.1, 0.0, 0.0, 0.05, 0.09, 10, 20,
)  # fmt: skip


def test_an_older_replicas_event_is_filled_up() -> None:
    """Before requests had heads, they were MessagePack arrays; the first of them lacked the fields that have defaults."""
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(EVENT))
    required = len(Request.__struct_fields__) - len(Request.__struct_defaults__) + 1
    for older in (fields, fields[:required]):
        assert decode(msgspec.msgpack.encode(older)) == EVENT


def newer(record: bytes) -> bytes:
    """The record as a version may write it that has another figure, another trait and another id."""
    size, length = record[1], int.from_bytes(record[2:4], "little")
    traits, ids = (msgspec.msgpack.decode(part) for part in (record[size : size + length], record[size + length :]))
    traits, ids = (msgspec.msgpack.encode([*part, "a field of the next version", {"x": 1}]) for part in (traits, ids))
    return record[:1] + bytes([size + 8]) + len(traits).to_bytes(2, "little") + record[4:size] + b"12345678" + traits + ids


def test_a_newer_replicas_event_is_understood_as_far_as_it_is_known() -> None:
    record = newer(encode(EVENT))
    assert decode(record) == EVENT
    unknown_kind = msgspec.msgpack.encode(["z", 1, 2])
    sums = Sums()
    sums.add([record, unknown_kind, encode(EVENT)])
    assert [(row.requests, row.bytes_out) for row in sums.rows] == [(2, 2 * EVENT.bytes_out)]


def test_a_newer_replicas_key_is_served_and_keeps_what_is_not_known_here() -> None:
    key = Key("key_1", "app", 1.0, secrets=(Secret("sec_1", "d", "p", "h", 1.0),))
    newer = msgspec.json.decode(document.encode(key, None)) | {"budget": {"usd": 5}}
    newer["secrets"][0]["attested"] = True
    stored = msgspec.json.encode(newer)
    assert document.decode(stored) == key
    changed = msgspec.structs.replace(document.decode(stored), name="renamed", revision=2)
    rewritten = msgspec.json.decode(document.encode(changed, stored))
    assert rewritten["budget"] == {"usd": 5} and rewritten["secrets"][0]["attested"] is True and rewritten["name"] == "renamed"


def test_an_older_replicas_key_is_filled_up() -> None:
    older = b'{"id":"key_1","name":"app","created_at":1.0}'
    assert document.decode(older) == Key("key_1", "app", 1.0)


NEXT_VERSION = "99.0.0"
NEXT = {
    "__init__.py": (f'__version__ = "{sidecar.__version__}"', f'__version__ = "{NEXT_VERSION}"'),
    "events/wire.py": (
        "    return head + shared + _encode(ids)",
        """    shared = _encode((*traits[:-1], 3, "new"))
    head = bytes([MARK, HEAD_SIZE + 8]) + len(shared).to_bytes(2, "little") + head[4:] + bytes(8)
    return head + shared + _encode((*ids, "new"))""",
    ),
    "keys/record.py": ("    def secret(self", "    budget: dict[str, int] | None = None\n\n    def secret(self"),
    "keys/document.py": ("    return msgspec.json.encode(document)", '    return msgspec.json.encode({"budget": {"usd": 5}} | document)'),
}
"""What the version after this one changes: what to look for in a file, and what stands there then."""


def next_version(directory: Path) -> Path:
    """A copy of the program whose records have more in them; to be put on PYTHONPATH."""
    source = Path(sidecar.__file__).parent
    shutil.copytree(source, directory / "sidecar", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name, (found, changed) in NEXT.items():
        file = directory / "sidecar" / name
        text = file.read_text()
        assert text.count(found) == 1, name
        file.write_text(text.replace(found, changed))
    return directory


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sidecar, Sidecar, Server]]:
    """A replica of this version, one of the next, and their store."""
    directory = tmp_path_factory.mktemp("versions")
    store = Server(directory / "store", tcp=True)
    store.start()
    homes = [directory / "this", directory / "next"]
    for home in homes:
        home.mkdir()
    try:
        with hub_process() as hub:
            settings = {"store__url": store.url, "keys__pepper_file": str(directory / "pepper")}
            this, after = (Sidecar(home, hub.url, ACCESS_KEY, **settings) for home in homes)
            after.environment["PYTHONPATH"] = str(next_version(directory / "program"))
            with this, after:
                yield this, after, store
    finally:
        store.close()


def test_two_versions_are_one_system(fleet: tuple[Sidecar, Sidecar, Server]) -> None:
    this, after, store = fleet
    assert [one.admin("GET", "/whoami").json["version"] for one in fleet[:2]] == [sidecar.__version__, NEXT_VERSION]
    for maker, other in ((this, after), (after, this)):
        key_id, secret = maker.create_key(name="made", limits={"rpm": 8})
        statuses = [one.ask(secret).status for one in (maker, other) * 6]
        assert sorted(statuses) == [200] * 8 + [429] * 4, "limits count over both"
        assert other.admin("PATCH", f"/keys/{key_id}", {"name": "renamed"}).status == 200
        assert maker.admin("GET", f"/keys/{key_id}").json["key"]["name"] == "renamed"
        assert b'"budget":{"usd":5}' in store.command("HGET", names.key(key_id), "record"), "what is not known here is kept"

        def counted(one: Sidecar) -> int:
            totals = one.admin("GET", f"/keys/{key_id}/usage").json["totals"]  # noqa: B023
            return int(totals["requests"])

        for one in (maker, other):
            wait_until(lambda: counted(one) == 12, what="both replicas' calls in the sums")  # noqa: B023
        assert maker.admin("POST", f"/keys/{key_id}/revoke").status == 200
        wait_until(lambda: other.ask(secret).status == 401, within=2.0, what="the revocation on the other replica")  # noqa: B023
