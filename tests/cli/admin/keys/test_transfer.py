from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.cli.admin.keys import transfer
from sidecar.control.admin.messages.keys import ImportedKey
from sidecar.keys.token import generate
from tests.cli.admin.conftest import Cli, make_key
from tests.support.fake_admin import Call, FakeAdmin, Reply, refusal

DIGEST = "0" * 64


def importer(call: Call) -> Reply:
    """Takes every line whose name does not begin with `bad`, as the API would."""
    lines = []
    for number, line in enumerate(call.body.decode().splitlines(), 1):
        bad = json.loads(line).get("name", "bad").startswith("bad")
        lines.append({"line": number, "id": None if bad else f"key_{number:016d}", "error": "name: is taken" if bad else None})
    refused = sum(line["error"] is not None for line in lines)
    return Reply({"imported": len(lines) - refused, "refused": refused, "lines": lines})


def write(path: Path, *entries: object) -> str:
    path.write_text("".join((entry if isinstance(entry, str) else json.dumps(entry)) + "\n" for entry in entries))
    return str(path)


def test_every_refused_line_is_reported_with_its_reason(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    admin.on("POST", "/keys/import/lines", importer)
    file = write(
        tmp_path / "keys",
        {"name": "a", "sha256": DIGEST},
        "",
        "not json",
        "[]",
        {"name": "bad", "sha256": DIGEST},
        {"name": "b", "sha256": DIGEST},
    )
    kept = tmp_path / "refused"
    result = cli("keys", "import", file, "--refused", str(kept))
    assert result.code == 1
    lines = "line 3: is not JSON\nline 4: is not a JSON object\nline 5: name: is taken\n"
    assert result.err == lines + "3 lines were refused; mend and import only those again.\n"
    assert result.out.startswith("Imported 2 keys; 3 lines refused.\n")
    assert kept.read_text().splitlines() == ["not json", "[]", json.dumps({"name": "bad", "sha256": DIGEST})]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_all_well(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    admin.on("POST", "/keys/import/lines", importer)
    result = cli("keys", "import", write(tmp_path / "keys", {"name": "a", "sha256": DIGEST}), "--json")
    assert result.code == 0
    assert json.loads(result.out) == {"imported": 1, "refused": 0, "lines": [{"line": 1, "id": "key_0000000000000001", "error": None}]}


def test_a_line_with_a_member_twice_is_not_made_one_without(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    line = f'{{"name": "a", "sha256": "{DIGEST}", "allowed_models": [], "allowed_models": null}}'
    assert cli("keys", "import", write(tmp_path / "keys", line)).err.startswith("line 1: has a member twice\n")
    assert admin.calls == []


def test_a_key_with_long_lists_is_imported(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    admin.on("POST", "/keys/import/lines", importer)
    entry = {"name": "a", "sha256": DIGEST, "allowed_models": [f"{number:0256}" for number in range(256)]}
    result = cli("keys", "import", write(tmp_path / "keys", entry, '{"name":"' + "z" * (1 << 20) + '"}'))
    assert result.out.startswith("Imported 1 key; 1 line refused.\n")
    assert result.err.startswith("line 2: is longer than 1 MiB\n")


def test_with_json_standard_error_tells_of_refused_lines_too(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    admin.on("POST", "/keys/import/lines", importer)
    result = cli("keys", "import", write(tmp_path / "keys", {"name": "bad", "sha256": DIGEST}), "--json")
    assert (result.code, json.loads(result.out)["refused"]) == (1, 1)
    assert result.err == "1 line was refused; mend and import only those again.\n"


def test_tokens_are_digested_here_and_never_sent(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    admin.on("POST", "/keys/import/lines", importer)
    cli("keys", "import", write(tmp_path / "keys", {"name": "a", "token": "sk-old-abcdef-1234"}))
    assert b"sk-old" not in admin.calls[0].body
    assert json.loads(admin.calls[0].body) == {"name": "a", "sha256": hashlib.sha256(b"sk-old-abcdef-1234").hexdigest(), "hint": "…1234"}


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1, max_size=512))
def test_of_a_token_of_any_form_a_quarter_is_shown_at_most_and_four_characters(token: str) -> None:
    line = transfer._prepared(json.dumps({"name": "a", "token": token}).encode())
    entry = msgspec.json.decode(line, type=ImportedKey)
    shown = entry.hint.removeprefix("…")
    assert token.endswith(shown)
    assert len(shown) == min(4, len(token) // 4)


@pytest.mark.parametrize("token", ["tok with blank", " tok123", "one,two", "schlüssel", "\ud800", "x" * 513, generate("sat")])
def test_a_token_that_no_call_can_carry_is_refused(cli: Cli, admin: FakeAdmin, tmp_path: Path, token: str) -> None:
    result = cli("keys", "import", write(tmp_path / "keys", {"name": "a", "token": token}))
    assert result.err.startswith("line 1: has a token that no call can carry; ")
    assert token not in result.out + result.err
    assert admin.calls == []


def test_a_failure_in_the_middle_loses_no_line(cli: Cli, admin: FakeAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BATCH_LINES", 2)
    admin.on(
        "POST",
        "/keys/import/lines",
        lambda call: importer(call) if len(admin.calls) < 2 else refusal(503, "key_store_unavailable", "The store is away."),
    )
    file = write(tmp_path / "keys", *({"name": f"n{number}", "sha256": DIGEST} for number in range(5)))
    result = cli("keys", "import", file, "--json")
    report = json.loads(result.out)
    assert result.code == 1
    assert [line["line"] for line in report["lines"]] == [1, 2, 3, 4, 5]
    assert [line["error"] is None for line in report["lines"]] == [True, True, False, False, False]
    assert "The store is away" in report["lines"][2]["error"]


def test_ctrl_c_in_the_middle_loses_no_line(cli: Cli, admin: FakeAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was under way may be in the store, and what came before it surely is: the file as it was is nothing to go on with."""
    monkeypatch.setattr(transfer, "BATCH_LINES", 2)
    # Whoever runs the tests in the background may have them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(call: Call) -> Reply:
        if len(admin.calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return importer(call)

    admin.on("POST", "/keys/import/lines", interrupted)
    entries = [{"name": f"n{number}", "sha256": DIGEST} for number in range(6)]
    kept = tmp_path / "refused"
    try:
        result = cli("keys", "import", write(tmp_path / "keys", *entries), "--refused", str(kept))
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.code == 1
    assert result.err.startswith("lines 3 to 6: may not be imported, try it again: interrupted\n")
    assert result.out.startswith("Imported 2 keys; 4 lines refused.\n")
    assert kept.read_text().splitlines() == [json.dumps(entry) for entry in entries[2:]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["", "x", "[1]", '{"name":"a"}', '{"name":"bad"}', '{"token":1}', '{"name":"' + "z" * 70_000 + '"}']), max_size=30
    )
)
def test_imported_and_refused_add_up_to_the_lines(cli: Cli, admin: FakeAdmin, tmp_path: Path, lines: list[str]) -> None:
    admin.on("POST", "/keys/import/lines", importer)
    report = json.loads(cli("keys", "import", write(tmp_path / "keys", *lines), "--json").out)
    assert [line["line"] for line in report["lines"]] == [number for number, line in enumerate(lines, 1) if line]
    assert report["imported"] + report["refused"] == len(report["lines"])


def test_an_import_that_is_refused_as_a_whole_is_one_sentence(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    admin.on("POST", "/keys/import/lines", refusal(409, "conflict", "Set keys.accept_imported to true first."))
    result = cli("keys", "import", write(tmp_path / "keys", {"name": "a", "sha256": DIGEST}))
    assert (result.code, result.out, result.err) == (1, "", "Set keys.accept_imported to true first.\n")


def test_a_bar_at_a_terminal_only(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    admin.on("POST", "/keys/import/lines", importer)
    file = write(tmp_path / "keys", {"name": "a", "sha256": DIGEST})
    assert "[####" in cli("keys", "import", file, tty=True).err
    assert cli("keys", "import", file, tty=True, environment={"TERM": "dumb"}).err == ""
    assert cli("keys", "import", file).err == ""


def test_a_missing_file(cli: Cli) -> None:
    result = cli("keys", "import", "/nowhere/keys.jsonl")
    assert result.code == 1
    assert "cannot be read (No such file or directory)" in result.err


def test_export_is_json_lines_and_one_document_with_json(cli: Cli, admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", {"data": [make_key(name="a"), make_key(name="b")], "next_cursor": None})
    assert [json.loads(line)["name"] for line in cli("keys", "export").out.splitlines()] == ["a", "b"]
    assert [key["name"] for key in json.loads(cli("keys", "export", "--json").out)["data"]] == ["a", "b"]


@pytest.mark.parametrize("there", [True, False])
def test_refused_lines_are_for_nobody_else(cli: Cli, admin: FakeAdmin, tmp_path: Path, there: bool) -> None:
    """They may hold tokens, and the file may be that of an import before."""
    admin.on("POST", "/keys/import/lines", importer)
    kept = tmp_path / "refused"
    if there:
        kept.write_text("older and longer than what comes now\n" * 9)
        kept.chmod(0o644)
    cli("keys", "import", write(tmp_path / "keys", "not JSON"), "--refused", str(kept))
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("not JSON\n", 0o600)


def test_refused_lines_may_go_where_no_mode_can_be_set(cli: Cli, admin: FakeAdmin, tmp_path: Path) -> None:
    assert cli("keys", "import", write(tmp_path / "keys", "not JSON"), "--refused", "/dev/null").code == 1
    assert Path("/dev/null").stat().st_mode & 0o777 == 0o666
