from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.admin.audit import check
from sidecar.cli.errors import CommandError
from sidecar.control.audit.event import GENESIS, Change, Party, draft, seal
from tests.cli.admin.conftest import Cli
from tests.support.fake_admin import FakeAdmin, Reply


def chain(count: int) -> list[dict[str, Any]]:
    """A sealed chain, as the API exports it."""
    events: list[dict[str, Any]] = []
    previous = GENESIS
    for sequence in range(1, count + 1):
        changes = {"name": Change("a", f"bé{sequence}")}
        event = draft(
            "api_key.updated",
            Party("admin_token", "adm_1", "ops"),
            now=1.5e9 + sequence,
            target=Party("api_key", "key_1", "shop"),
            changes=changes,
        )
        data, previous = seal(event, sequence, previous)
        events.append({**json.loads(data), "hash": previous})
    return events


def write(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events))
    return path


def test_list(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/audit-events", {"data": chain(2)[::-1], "next_cursor": None})
    result = cli("audit", "list", "--target", "key_1", "--from", "24h")
    assert admin.calls[0].query == {"target": "key_1", "from": "2026-11-23T12:00:00+00:00", "limit": "50"}
    assert "api_key.updated" in result.out
    assert "name: a → bé2" in result.out
    assert len(json.loads(cli("audit", "list", "--json").out)["data"]) == 2


def test_the_reason_of_an_act_stands_beside_what_it_changed(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/audit-events", {"data": [{**chain(1)[0], "reason": "leaked"}], "next_cursor": None})
    assert "leaked; name: a → bé1" in cli("audit", "list").out


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("quota", {"period": "month", "requests": 7, "timezone": "Europe/Berlin", "tokens": 9}, {"period": "month", "requests": 7,
         "timezone": "Europe/Berlin"}, "quota.tokens: 9 → -"),
        ("limits", {"rpm": 5}, {"rpm": 6, "tpm": 7}, "limits.rpm: 5 → 6, limits.tpm: - → 7"),
        ("allowed_models", [f"model-{number}" for number in range(99)], [f"model-{number}" for number in range(1, 100)],
         "allowed_models: -model-0 +model-99"),
        ("allowed_models", ["a", "b"], ["b", "a"], 'allowed_models: ["a", "b"] → ["b", "a"]'),
        ("allowed_models", ["a"], None, 'allowed_models: ["a"] → -'),
        ("allowed_models", None, [], "allowed_models: - → []"),
        ("secrets", [{"id": "s1", "state": "current"}], [{"id": "s1", "state": "retiring"}],
         "secrets.s1.state: current → retiring"),
        ("tags", [], ["t" * 31] * 9, f"tags: +{'t' * 31} +{'t' * 29}…"),
    ],
)  # fmt: skip
def test_of_a_change_what_differs_is_told(cli: Cli, admin: FakeAdmin, name: str, old: object, new: object, told: str) -> None:
    """Which may stand far behind what fits a line: two beginnings of two long lists look the same."""
    admin.on("GET", "/audit-events", {"data": [{**chain(1)[0], "changes": {name: {"old": old, "new": new}}}], "next_cursor": None})
    assert cli("audit", "list").out.rstrip().endswith(f"  {told}")


def test_no_events_are_said_to_be_none(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/audit-events", {"data": [], "next_cursor": None})
    result = cli("audit", "list", "--action", "api_keyy")
    assert (result.code, result.out, result.err) == (0, "", "No events match.\n")


def test_export(cli: Cli, admin: FakeAdmin) -> None:
    events = chain(3)
    raw = "".join(json.dumps(event) + "\n" for event in events).encode()
    admin.on("GET", "/audit-events", Reply(raw=raw, content_type="application/x-ndjson"))
    assert cli("audit", "export").out == raw.decode()
    assert json.loads(cli("audit", "export", "--json").out)["data"] == events


@pytest.mark.parametrize("ok", [True, False])
def test_verify_asks_the_store(cli: Cli, admin: FakeAdmin, ok: bool) -> None:
    verdict = {
        "ok": ok,
        "events": 7,
        "head_sequence": 7,
        "head_hash": "ab",
        "broken_at": None if ok else 3,
        "reason": "" if ok else "changed",
    }
    admin.on("GET", "/audit-events/verify", {"verdict": verdict})
    result = cli("audit", "verify")
    assert result.code == (0 if ok else 1)
    assert ("7 events, head ab" in result.out) == ok
    assert ("broken at event 3: changed" in result.err) == (not ok)
    machine = cli("audit", "verify", "--json")
    assert (machine.code, json.loads(machine.out)) == (0 if ok else 1, verdict)


def test_verify_says_what_it_could_not_tell(cli: Cli, admin: FakeAdmin) -> None:
    verdict = {"ok": True, "events": 7, "head_sequence": 7, "head_hash": "ab", "broken_at": None, "reason": "no head is known"}
    admin.on("GET", "/audit-events/verify", {"verdict": verdict})
    result = cli("audit", "verify")
    assert result.code == 0
    assert "7 events, head ab." in result.out and "But no head is known." in result.out


def test_a_whole_export_verifies_in_either_order(tmp_path: Path) -> None:
    events = chain(5)
    verdict = {"ok": True, "events": 5, "head_sequence": 5, "head_hash": events[-1]["hash"], "broken_at": None, "reason": ""}
    for order in (events, events[::-1]):
        assert check(write(tmp_path / "export", order)) == verdict


def _change(events: list[dict[str, Any]]) -> None:
    events[2]["actor"]["name"] = "somebody else"


def _remove(events: list[dict[str, Any]]) -> None:
    del events[2]


def _forge(events: list[dict[str, Any]]) -> None:
    event = draft("api_key.updated", Party("admin_token", "adm_1"), now=1.5e9)
    data, digest = seal(event, 3, "f" * 64)
    events[2] = {**json.loads(data), "hash": digest}


@pytest.mark.parametrize("tamper", [_change, _remove, _forge])
def test_a_tampered_export_does_not(tmp_path: Path, tamper: Any) -> None:
    events = chain(5)
    tamper(events)
    verdict = check(write(tmp_path / "export", events))
    assert not verdict["ok"]
    assert verdict["broken_at"] in (3, 4)


@pytest.mark.parametrize(
    ("was", "becomes"), [('{"action"', '{"actor":{"type":"admin_token","id":"adm_2"},"action"'), ('"old":null', '"old":NaN')]
)
def test_what_may_be_read_in_two_ways_is_no_export(tmp_path: Path, was: str, becomes: str) -> None:
    """Whoever looks for an act by name finds what was put in, and of the chain only the other one is seen."""
    event = draft("api_key.revoked", Party("admin_token", "adm_1"), now=1.5e9, changes={"revoked_at": Change(None, "then")})
    data, digest = seal(event, 1, GENESIS)
    line = data[:-1].decode() + f',"hash":"{digest}"}}\n'
    assert was in line
    path = tmp_path / "export"
    path.write_text(line)
    assert check(path)["ok"]
    path.write_text(line.replace(was, becomes, 1))
    with pytest.raises(CommandError, match="is not an export of the audit log"):
        check(path)


def test_a_file_can_be_verified_without_the_admin_api(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    assert cli("audit", "verify", "--file", str(write(tmp_path / "export", chain(2)))).code == 0
    assert admin.calls == []


@pytest.mark.parametrize("text", ["{}\n", "[" * 100_000, '{"sequence":' * 100_000])
def test_another_file_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(CommandError, match="is not an export of the audit log"):
        check(tmp_path / "x")


def test_an_export_vouches_for_no_more_than_it_holds(cli: Cli, tmp_path: Path) -> None:
    events = chain(5)
    cut = cli("audit", "verify", "--file", str(write(tmp_path / "cut", events[:4])))
    assert cut.code == 0
    assert "The export is whole: 4 events" in cut.out
    assert "ends with event 4; whether more were written, `sidecar audit verify` tells" in cut.out
    for number, selection in enumerate(([events[0], events[3]], events[2:])):
        chosen = cli("audit", "verify", "--file", str(write(tmp_path / f"chosen{number}", selection)))
        assert chosen.code == 1
        assert "missing" in chosen.err
        assert "export without filters" in chosen.err


def test_an_export_is_cut_into_lines_at_line_feeds_only(tmp_path: Path) -> None:
    """A note of a key may hold characters that end a line elsewhere, and stands in the record of its change."""
    event = draft("api_key.updated", Party("admin_token", "adm_1"), now=1.5e9, changes={"metadata": Change({}, {"a": "x\u2028\x85y"})})
    data, digest = seal(event, 1, GENESIS)
    path = tmp_path / "export"
    path.write_bytes(data[:-1] + b',"hash":"%s"}\n' % digest.encode())
    assert check(path)["ok"]


def test_nothing_in_an_export_drives_a_terminal(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/audit-events", Reply(raw='{"a":"\x9b31m"}\n'.encode(), content_type="application/x-ndjson"))
    assert cli("audit", "export").out == '{"a":"\x9b31m"}\n'
    assert cli("audit", "export", tty=True).out == '{"a":"\ufffd31m"}\n'
