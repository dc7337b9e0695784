from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sidecar.cli import completion
from tests.support.tools import require


@pytest.fixture(scope="module")
def commands() -> list[completion.Command]:
    return list(completion.tree())


CASES = [
    ("", {"keys", "usage", "completion"}, {"create"}),
    ("keys ", {"create", "identify", "rotate"}, {"usage"}),
    ("keys ro", {"rotate"}, {"revoke"}),
    ("keys create --na", {"--name"}, {"--owner"}),
    ("keys create --name x --quota-p", {"--quota-period"}, set()),
    ("keys create --enforcement ", {"off", "shadow", "enforce"}, {"--name"}),
    ("completion ", {"bash", "zsh", "fish"}, {"keys"}),
    ("keys import ./keys.j", {"./keys.jsonl"}, set()),
]


def _by_bash(commands: list[completion.Command], line: str, directory: Path) -> list[str]:
    """What bash offers behind `sidecar <line>` in `directory`."""
    words = ["sidecar", *line.split(" ")]
    script = f"""{completion.bash(commands)}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        _sidecar_complete; printf '%s\\n' "${{COMPREPLY[@]}}" """
    shell = require("bash", install="apt-get install bash")
    answer = subprocess.run([shell, "--norc", "-c", script], capture_output=True, text=True, check=True, cwd=directory)
    assert answer.stderr == ""
    return answer.stdout.splitlines()


@pytest.mark.parametrize(("line", "there", "absent"), CASES)
def test_bash(commands: list[completion.Command], tmp_path: Path, line: str, there: set[str], absent: set[str]) -> None:
    (tmp_path / "keys.jsonl").touch()
    _judge(set(_by_bash(commands, line, tmp_path)), there, absent)


@pytest.mark.parametrize("line", ["keys list --status =", "keys list --status = a", "keys list --status a"])
def test_a_value_behind_an_equals_sign_in_bash(commands: list[completion.Command], tmp_path: Path, line: str) -> None:
    """For which bash breaks the word in three."""
    found = _by_bash(commands, line, tmp_path)
    assert "active" in found and "--owner" not in found


@pytest.mark.parametrize("line", ["keys import ", "serve -c "])
def test_a_file_is_one_word_in_bash_whatever_its_name(commands: list[completion.Command], tmp_path: Path, line: str) -> None:
    (tmp_path / "a b.jsonl").touch()
    assert "a b.jsonl" in _by_bash(commands, line, tmp_path)


@pytest.mark.parametrize(("line", "there", "absent"), CASES)
def test_fish(commands: list[completion.Command], tmp_path: Path, line: str, there: set[str], absent: set[str]) -> None:
    (tmp_path / "keys.jsonl").touch()
    shell = require("fish", install="apt-get install fish")
    script = completion.fish(commands) + f"\ncomplete -C 'sidecar {line}'"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    answer = subprocess.run([shell, "--no-config", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert answer.stderr == ""
    _judge({row.split("\t")[0] for row in answer.stdout.splitlines()}, there, absent)


@pytest.mark.parametrize(("line", "there", "absent"), CASES[:-1])
def test_zsh(commands: list[completion.Command], tmp_path: Path, line: str, there: set[str], absent: set[str]) -> None:
    """Runs the completion function with the two functions that show words replaced by ones that print them."""
    shell = require("zsh", install="apt-get install zsh")
    words = ["sidecar", *line.split(" ")]
    prepared = f"""
        compdef() {{ }}
        compadd() {{ shift; print -l -- "$@" }}
        _describe() {{ print -l -- "${{(@P)4}}" }}
        _files() {{ }}
        {completion.zsh(commands)}
        words=({" ".join(f"'{word}'" for word in words)}); CURRENT={len(words)}
        _sidecar"""
    answer = subprocess.run([shell, "-f", "-c", prepared], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stderr == ""
    last = line.split(" ")[-1]
    shown = {word.split(":")[0] for word in answer.stdout.splitlines()}
    _judge({word for word in shown if word.startswith(last)}, there, absent)


def _judge(shown: set[str], there: set[str], absent: set[str]) -> None:
    assert there <= shown
    assert not absent & shown


def test_each_command_of_the_tree_is_known_once(commands: list[completion.Command]) -> None:
    paths = [command.path for command in commands]
    assert len(paths) == len(set(paths))
    assert {" keys create", " audit verify", " admin-tokens revoke", " usage"} <= set(paths)
