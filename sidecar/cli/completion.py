"""`sidecar completion bash|zsh|fish`: shell completion, generated from the parser so that it cannot go out of date."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sidecar.cli.commands import build_parser

SHELLS = ("bash", "zsh", "fish")
_FILES = 'compopt -o filenames 2>/dev/null; mapfile -t found < <(compgen -f -- "$current"); COMPREPLY+=("${found[@]}")'
"""For bash: each file is one word, whatever blanks its name has, and a directory is followed by `/`, not by a blank."""
PROGRAM = "sidecar"


@dataclass(frozen=True, slots=True)
class Command:
    """One parser of the tree: the words that lead to it, and what may follow them."""

    words: tuple[str, ...]
    summary: str
    commands: tuple[tuple[str, str], ...]
    """Names and summaries of the commands below it."""
    options: tuple[tuple[str, str], ...]
    """Each option string and its help."""
    choices: tuple[tuple[str, tuple[str, ...]], ...]
    """The values of an option, or of a positional argument under the name ""."""
    files: tuple[str, ...]
    """Options whose value is a file, "" for a positional argument."""

    @property
    def path(self) -> str:
        """The words as the scripts gather them: a blank before each."""
        return "".join(f" {word}" for word in self.words)

    def words_here(self) -> list[tuple[str, str]]:
        """Every word that may stand here, with its description."""
        values = [(value, "") for option, choices in self.choices if not option for value in choices]
        return [*self.commands, *self.options, *values]


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "completion",
        help="print shell completion",
        description='bash: eval "$(sidecar completion bash)" in ~/.bashrc. '
        'zsh: eval "$(sidecar completion zsh)" in ~/.zshrc after compinit. '
        "fish: sidecar completion fish > ~/.config/fish/completions/sidecar.fish",
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(args: argparse.Namespace) -> int:
    """Print the completion script."""
    commands = list(tree())
    scripts: dict[str, Callable[[list[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
    sys.stdout.write(scripts[args.shell](commands))
    return 0


def tree() -> Iterator[Command]:
    """Every command of the program, its root first."""
    return walk(_subparsers(build_parser()), ())


def walk(subparsers: Any, words: tuple[str, ...]) -> Iterator[Command]:
    """A Command for `words` themselves, then one for each below, depth first."""
    summaries = {action.dest: action.help or "" for action in subparsers._choices_actions}
    yield Command(words, "", tuple((name, summaries.get(name, "")) for name in subparsers.choices), (("--help", "show help"),), (), ())
    for name, parser in subparsers.choices.items():
        here = (*words, name)
        below = _subparsers(parser)
        if below is not None:
            yield from walk(below, here)
        else:
            yield _leaf(parser, here, summaries.get(name, ""))


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    """The commands below `parser`; None when it has none. argparse has no public way to ask."""
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)


def _leaf(parser: argparse.ArgumentParser, words: tuple[str, ...], summary: str) -> Command:
    options: list[tuple[str, str]] = []
    choices: list[tuple[str, tuple[str, ...]]] = []
    files: list[str] = []
    for action in parser._actions:
        names = action.option_strings or [""]
        options += [(name, action.help or "") for name in action.option_strings]
        if action.choices is not None:
            choices += [(name, tuple(map(str, action.choices))) for name in names]
        elif isinstance(action.metavar, str) and action.metavar.startswith("FILE"):
            files += names
    return Command(words, summary, (), tuple(options), tuple(choices), tuple(files))


def bash(commands: list[Command]) -> str:
    """A script for bash 4 and later."""
    return f"""\
_{PROGRAM}_complete() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous= path= word index
    ((COMP_CWORD > 0)) && previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    # bash takes --option=value for three words.
    if [[ $current == "=" ]]; then
        current=
    elif [[ $previous == "=" ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${{COMP_WORDS[index]}}
        case "$path $word" in
{_lines(f'            {_quoted(command.path)}) path="$path $word" ;;' for command in commands if command.words)}
        esac
    done
    local -a found
    COMPREPLY=()
    case "$path:$previous" in
{_lines(_bash_values(commands))}
    esac
    case "$path" in
{_lines(_bash_words(commands))}
    esac
}}
complete -F _{PROGRAM}_complete {PROGRAM}
"""


def _bash_values(commands: list[Command]) -> Iterator[str]:
    for command in commands:
        for option, choices in command.choices:
            if option:
                values = f"compgen -W {_quoted(' '.join(choices))}"
                yield f'        {_quoted(f"{command.path}:{option}")}) COMPREPLY=($({values} -- "$current")); return ;;'
        for option in command.files:
            if option:
                yield f"        {_quoted(f'{command.path}:{option}')}) {_FILES}; return ;;"


def _bash_words(commands: list[Command]) -> Iterator[str]:
    for command in commands:
        words = " ".join(name for name, _ in command.words_here())
        files = f" {_FILES};" if "" in command.files else ""
        yield f'        {_quoted(command.path)}) COMPREPLY=($(compgen -W {_quoted(words)} -- "$current"));{files} ;;'


def zsh(commands: list[Command]) -> str:
    """A script for zsh: descriptions beside the words."""
    return f"""\
#compdef {PROGRAM}
_{PROGRAM}() {{
    local path_= word index
    local -a words_
    for ((index = 2; index < CURRENT; index++)); do
        word=$words[index]
        case "$path_ $word" in
{_lines(f'            {_quoted(command.path)}) path_="$path_ $word" ;;' for command in commands if command.words)}
        esac
    done
    case "$path_:$words[CURRENT-1]" in
{_lines(_zsh_values(commands))}
    esac
    case "$path_" in
{_lines(_zsh_words(commands))}
    esac
    _describe -t commands {PROGRAM} words_
}}
compdef _{PROGRAM} {PROGRAM}
"""


def _zsh_values(commands: list[Command]) -> Iterator[str]:
    for command in commands:
        for option, values in command.choices:
            if option:
                yield f"        {_quoted(f'{command.path}:{option}')}) compadd -- {' '.join(map(_quoted, values))}; return ;;"
        for option in command.files:
            if option:
                yield f"        {_quoted(f'{command.path}:{option}')}) _files; return ;;"


def _zsh_words(commands: list[Command]) -> Iterator[str]:
    for command in commands:
        words = " ".join(_quoted(f"{name}:{_plain(text)}" if text else name) for name, text in command.words_here())
        files = " _files;" if "" in command.files else ""
        yield f"        {_quoted(command.path)}) words_=({words});{files} ;;"


def fish(commands: list[Command]) -> str:
    """A script for fish."""
    known = " ".join(_quoted(" ".join(command.words)) for command in commands if command.words)
    head = f"""\
function __{PROGRAM}_at
    set -l words (commandline -opc)
    set -l path
    for word in $words[2..-1]
        string match -q -- '-*' $word; and continue
        set -l candidate (string join ' ' $path $word)
        contains -- $candidate {known}; and set path $path $word
    end
    test "$path" = "$argv"
end
complete -c {PROGRAM} -f
"""
    return head + "\n".join(_fish_lines(commands)) + "\n"


def _fish_lines(commands: list[Command]) -> Iterator[str]:
    for command in commands:
        condition = _quoted(f"__{PROGRAM}_at{command.path}")
        here = f"complete -c {PROGRAM} -n {condition}"
        for name, text in command.commands:
            yield f"{here} -a {name} -d {_quoted(_plain(text))}"
        choices = dict(command.choices)
        for name, text in command.options:
            flag = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            value = f" -x -a {_quoted(' '.join(choices[name]))}" if name in choices else " -r -F" if name in command.files else ""
            yield f"{here} {flag}{value} -d {_quoted(_plain(text))}"
        if "" in choices:
            yield f"{here} -a {_quoted(' '.join(choices['']))}"
        if "" in command.files:
            yield f"{here} -F"


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _plain(text: str) -> str:
    """Help in one line without the characters that a shell's describer takes for its own."""
    return re.sub(r"[:\s]+", " ", text)
