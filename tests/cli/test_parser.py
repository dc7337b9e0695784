"""What is said to a line that no command understands: by whom, about what, with which guess, and never with a value."""

from __future__ import annotations

import argparse
import shlex

import pytest

from sidecar.cli.commands import COMMANDS, build_parser
from sidecar.cli.parser import Parser
from sidecar.keys.token import generate

KEY = generate("ahk")


def _refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence that is said."""
    words = shlex.split(line)
    with pytest.raises(SystemExit) as ended:
        build_parser(words[:1] if words[0] in COMMANDS else tuple(COMMANDS)).parse_args(words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    (sentence,) = said.err.splitlines()
    return sentence


@pytest.mark.parametrize(
    ("line", "program", "sentence"),
    [
        ("keys create --name x --model gpt", "sidecar keys create", "unknown option --model; did you mean --allow-model?"),
        ("keys create --name x --allow_model=gpt", "sidecar keys create", "unknown option --allow_model; did you mean --allow-model?"),
        ("keys create --nmae x", "sidecar keys create", "unknown option --nmae; did you mean --name?"),
        ("keys create --token x", "sidecar keys create", "unknown option --token; did you mean --admin-token-file?"),
        ("keys list --tokn=x", "sidecar keys list", "unknown option --tokn; did you mean --admin-token-file?"),
        ("keys revoke --resaon='it leaked' shop", "sidecar keys revoke", "unknown option --resaon; did you mean --reason?"),
        ("keys create --name x --colour red", "sidecar keys create", "unknown option --colour"),
        (
            "keys create --name x --allow gpt",
            "sidecar keys create",
            "ambiguous option --allow; it may be --allow-route, --allow-model, --allow-ip",
        ),
        ("keys create --name x --json=yes", "sidecar keys create", "option --json takes no value"),
        ("keys --json list", "sidecar keys", "unknown option --json"),
        ("config check -x", "sidecar config check", "unknown option -x"),
        ("--verison", "sidecar", "unknown option --verison; did you mean --version?"),
        ("--vers", "sidecar", "unknown option --vers; did you mean --version?"),
        ("keys list shop more", "sidecar keys list", "unexpected argument (not shown, it may be a secret)"),
    ],
)
def test_an_option_that_is_not_there(line: str, program: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused(line, capsys) == f"{program}: {sentence} (see `{program} --help`)"


@pytest.mark.parametrize(
    ("line", "program", "begin", "end"),
    [
        ("key list", "sidecar", "unknown command; known here: serve, authz, ", "; did you mean keys?"),
        ("keys lst", "sidecar keys", "unknown command; known here: create, rotate, list, ", "; did you mean list?"),
        ("keys make", "sidecar keys", "unknown command; known here: create, ", ", identify"),
        (
            "keys create --name x --enforcement enfroce",
            "sidecar keys create",
            "argument --enforcement: invalid choice; known here: off, shadow, enforce, default",
            "; did you mean enforce?",
        ),
        ("completion zhs", "sidecar completion", "argument shell: invalid choice; known here: bash, zsh, fish", "; did you mean zsh?"),
    ],
)
def test_a_word_that_is_not_among_the_known(line: str, program: str, begin: str, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused(line, capsys)
    assert said.startswith(f"{program}: {begin}")
    assert said.endswith(f"{end} (see `{program} --help`)")


def test_every_unknown_option_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused("keys create --nmae x --colour red --colour=blue", capsys)
    assert said.startswith("sidecar keys create: unknown option --nmae; did you mean --name?; unknown option --colour (see ")


@pytest.mark.parametrize(
    "line",
    [
        "keys list --tokn={}",
        "keys list --tokn {}",
        "keys list --tokn='{} {}'",
        "keys list shop '--{} --{}'",
        "keys list --tokn{}",
        "keys list --{}",
        "keys list -{}",
        "keys list -h{}",
        "keys list -t{}",
        "keys list --json={}",
        "keys list --js={}",
        "keys create --allow={}",
        "keys list shop {}",
        "keys list -- shop {}",
        "keys list --tokn {} --toekn={}",
        "keys --token={} list",
        "keys --token {} list",
        "keys {}",
        "--token={} keys list",
        "--token {} keys list",
        "{}",
        "keys create --name x --enforcement {}",
        "completion {}",
    ],
)
def test_a_value_is_never_repeated(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    everything = _refused(line.replace("{}", KEY), capsys)
    # Not even a part of it, as of a word that begins like an option.
    assert KEY[:8] not in everything
    assert KEY[2:] not in everything
    assert KEY[-8:] not in everything


def test_another_programs_long_option_is_guessed_though_it_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused("keys create -name x", capsys)
    assert said.startswith("sidecar keys create: unknown option (not shown, it may hold a secret); did you mean --name?")


def test_help_is_given_to_whoever_asks_for_it_on_a_wrong_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser(["keys"]).parse_args(["keys", "create", f"--tokn={KEY}", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert said.out.startswith("usage: sidecar keys create")
    assert KEY not in said.out + said.err


@pytest.mark.parametrize(
    ("line", "member", "value"),
    [
        (["keys", "create", "--nam", "x"], "name", "x"),
        (["keys", "create", "--name=x", "--allow-m=a", "--allow-model", "b"], "allow_model", ["a", "b"]),
        (["keys", "create", "--name", "-1"], "name", "-1"),
        (["keys", "create", "--name", "x", "--expires", "-1h"], "expires", "-1h"),
        (["keys", "rotate", "x", "--grace", "-1.5h"], "grace", "-1.5h"),
        (["keys", "create", "--name", "-x and --more"], "name", "-x and --more"),
        (["keys", "create", "--name", "-"], "name", "-"),
        (["keys", "list", "--", "--shop"], "q", "--shop"),
        (["config", "check", "-cfile"], "config", "file"),
    ],
)
def test_what_was_understood_still_is(line: list[str], member: str, value: object) -> None:
    assert getattr(build_parser(line[:1]).parse_args(line), member) == value


def test_it_reads_the_line_of_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = Parser(prog="sidecar")
    parser.add_argument("--name")
    monkeypatch.setattr("sys.argv", ["sidecar", "--name", "x"])
    assert parser.parse_args() == argparse.Namespace(name="x")


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("serve -c ''", "-c/--config"),
        ("store adopt --config ' '", "-c/--config"),
        ("keys revoke shop --yes --admin-url ''", "--admin-url"),
        ("keys list --admin-token-file ''", "--admin-token-file"),
    ],
)
def test_an_empty_place_is_not_another_one(line: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a variable that is not set would adopt the store, or revoke the key, of whatever the default leads to."""
    assert f"argument {option}: it is empty; give a value, or leave it out" in _refused(line, capsys)
