from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sidecar import __main__, __version__
from sidecar.cli import commands, main
from sidecar.cli.errors import WRONG_USE, CommandError
from sidecar.settings import SettingsError
from tests.support.ports import free_port
from tests.support.source import ROOT

SIDECAR = (sys.executable, "-m", "sidecar")


class Stub:
    """A command whose end is decided by the test."""

    def __init__(self, end: int | BaseException) -> None:
        self._end = end

    def add(self, subparsers: object) -> None:
        subparsers.add_parser("config")  # type: ignore[attr-defined]

    def run(self, args: object) -> int:
        if isinstance(self._end, BaseException):
            raise self._end
        return self._end


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (CommandError("the store is away; start it"), 1, "sidecar: the store is away; start it\n"),
        (CommandError("no such option", WRONG_USE), 2, "sidecar: no such option\n"),
        (SettingsError(["hub.url: is bad", "x: unknown"]), 2, "sidecar: hub.url: is bad\nsidecar: x: unknown\n"),
        (CommandError("no: \x1b[2J\nsidecar: all is well"), 1, "sidecar: no: \ufffd[2J\ufffdsidecar: all is well\n"),
        (SettingsError(["\x9bx: unknown"]), 2, "sidecar: \ufffdx: unknown\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_command_ends(
    end: int | BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub = Stub(end)
    monkeypatch.setattr(commands, "command", lambda name: stub)
    monkeypatch.setattr(main, "command", lambda name: stub)
    assert main.main(["config"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("arguments", ["config schema", "--version", "config"])
def test_whoever_closes_standard_output_gets_the_exit_code(arguments: str) -> None:
    closed = subprocess.run(
        ["sh", "-c", f'exec "$0" -m sidecar {arguments} >&-', sys.executable], cwd=ROOT, capture_output=True, check=False
    )
    usual = subprocess.run([*SIDECAR, *arguments.split()], cwd=ROOT, capture_output=True, check=False)
    assert closed.returncode == usual.returncode
    assert b"Traceback" not in closed.stderr


@pytest.mark.parametrize(
    "arguments", ["keys identify", "keys revoke key_0123456789abcdef", "admin-tokens revoke sat_0123456789abcdef", "keys import -"]
)
def test_whoever_closes_standard_input_gets_what_an_empty_one_gets(arguments: str) -> None:
    closed, empty = (_in_a_shell(arguments + redirection) for redirection in (" <&-", " </dev/null"))
    assert (closed.returncode, closed.stdout, closed.stderr) == (empty.returncode, empty.stdout, empty.stderr)
    assert "Traceback" not in closed.stderr


@pytest.mark.parametrize("redirection", ["2>&-", "<&- 2>&-"])
def test_an_error_that_nobody_wants_to_read_is_not_printed_where_data_is(redirection: str) -> None:
    for arguments, code in (("keys list --json", 1), ("keys nonsense", 2)):
        ended = _in_a_shell(f"{arguments} {redirection}")
        assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


@pytest.mark.parametrize(
    ("arguments", "code"), [("config check -c /nowhere", 2), ("keys nonsense", 2), ("audit verify --file /nowhere", 1)]
)
def test_an_error_that_its_reader_has_left_is_the_exit_code_all_the_same(arguments: str, code: int) -> None:
    """As in `sidecar config check 2>&1 | head -1`."""
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run([*SIDECAR, *arguments.split()], cwd=ROOT, stderr=write, check=False, timeout=60)
    finally:
        os.close(write)
    assert ended.returncode == code


def _in_a_shell(arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with the redirections of a shell, where no sidecar listens."""
    environment = {**os.environ, "SIDECAR_ADMIN_URL": f"http://127.0.0.1:{free_port()}", "SIDECAR_ADMIN_TOKEN": "none"}
    line = ["sh", "-c", f'exec "$0" -m sidecar {arguments}', sys.executable]
    ended = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    ended.stderr = ended.stderr.replace(environment["SIDECAR_ADMIN_URL"], "URL")
    return ended


def test_every_command_has_its_module_and_its_name() -> None:
    parser = commands.build_parser()
    choices = next(action.choices for action in parser._subparsers._group_actions)  # type: ignore[union-attr]
    assert list(choices or ()) == list(commands.COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["config"], ["config", "check", "--nonsense"], ["--conf"]])
def test_wrong_use_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith("sidecar") and said.err.endswith("--help`)\n") and said.err.count("\n") == 1, "one sentence"


def test_ctrl_c_is_no_fault_while_the_program_is_loaded_either(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "sidecar.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "sidecar.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["sidecar", "--version"])
    assert __main__.main() == main.INTERRUPTED


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sidecar {__version__}\n"


def test_a_reader_that_leaves_is_no_error_of_ours() -> None:
    done = subprocess.run(
        f"{sys.executable} -m sidecar config reference | head -1", shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "# Configuration\n"
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["--help", "keys --help", "--version"])
def test_a_help_text_that_nobody_reads_is_no_error_of_ours(arguments: str) -> None:
    read, write = os.pipe()
    os.close(read)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        ended = subprocess.run([*SIDECAR, *arguments.split()], cwd=ROOT, env=buffered, stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_a_full_disk_is_told_in_one_sentence() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*SIDECAR, "config", "schema"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "sidecar: the output cannot be written (No space left on device); make room, or send it elsewhere.\n"


def test_a_command_does_not_wait_for_what_others_need() -> None:
    code = (
        "import sys; from sidecar.__main__ import main; sys.argv[1:] = ['config', 'schema']; main(); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert not {"aiohttp", "uvloop", "jinja2"} & set(done.stderr.split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_output_fails_for_its_letters(encoding: str) -> None:
    """What is printed may be a secret that is shown only once."""
    said = subprocess.run(
        [sys.executable, "-c", "import sys; from sidecar.cli import main; main._take_any_text(sys.stdout); print('ahk_…1c96 \\ud800')"],
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": encoding}, cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    assert said.stdout.decode() == "ahk_…1c96 ?\n"
