"""The parser of the command line: wrong use is told by the command that was asked, with a guess at what was meant.

A value is never repeated, neither one behind an unknown option nor one that no option takes: it may be a key or a token.
Unknown options are therefore looked for before argparse reads the line, which would complain of something else first,
or quote the whole word.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from sidecar.cli.errors import WRONG_USE
from sidecar.spelling import did_you_mean

_HELP = {"-h", "--help"}
_NUMBER = re.compile(r"-(?:\d+(?:\.\d+)?(?:ms|s|m|h|d)?|\d*\.\d+)$")
"""A number or a duration below zero, which is a value: the command says what it may be."""
_NAME = re.compile(r"-[A-Za-z]|--[a-z][a-z_-]{0,30}")
"""What is surely the name of an option. Anything else that begins with a dash may be a secret with a dash before it."""


def filled(text: str) -> str:
    """A value that may not be empty, as a variable of a shell that is not set leaves it: then something else would be meant than named."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a value, or leave it out")
    return text


class Parser(argparse.ArgumentParser):
    """A command's parser; the commands below it get this class as well, as argparse does by default."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # By this argparse tells a value from an option; its own pattern knows no units.
        self._negative_number_matcher = _NUMBER

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Read the words of this command. None is left over for the command above, which could only show its own usage."""
        words = sys.argv[1:] if args is None else list(args)
        faults = dict.fromkeys(fault for word in self._options(words) if (fault := self._fault(word)))
        if faults and _HELP.isdisjoint(words):
            self.error("; ".join(faults))
        elif faults:
            self.print_help()
            self.exit()
        found, rest = super().parse_known_args(words, namespace)
        if rest:
            self.error("unexpected argument (not shown, it may be a secret)")
        return found, []

    def error(self, message: str) -> NoReturn:
        """End with what is wrong, in one sentence as every error, and where the command is explained."""
        self.exit(WRONG_USE, f"{self.prog}: {message} (see `{self.prog} --help`)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        fault = f"known here: {', '.join(known)}{did_you_mean(str(value), known)}"
        if isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(None, f"unknown command; {fault}")
        raise argparse.ArgumentError(action, f"invalid choice; {fault}")

    def _options(self, words: Sequence[str]) -> Iterator[str]:
        """Those of `words` that argparse takes for options of this command, and never for the value of one."""
        if self._subparsers is not None:
            words = list(takewhile(lambda word: word.startswith("-"), words))
        for word in takewhile(lambda word: word != "--", words):
            if len(word) > 1 and word.startswith("-") and not _NUMBER.fullmatch(word):
                yield word

    def _fault(self, word: str) -> str | None:
        """What is wrong with `word`, an option with or without a value; None when nothing is."""
        name, attached = _split(word, self._option_string_actions)
        meant = self._meant(name)
        if len(meant) > 1:
            return f"ambiguous option {name}; it may be {', '.join(meant)}"
        if meant:
            takes_none = self._option_string_actions[meant[0]].nargs == 0
            return f"option {meant[0]} takes no value" if attached and takes_none else None
        if " " in name:
            return None  # A sentence that begins with a dash is a value.
        shown = name if _NAME.fullmatch(name) else "(not shown, it may hold a secret)"
        return f"unknown option {shown}{did_you_mean(name, self._option_string_actions)}"

    def _meant(self, name: str) -> list[str]:
        """The options that `name` stands for: itself, or all that it begins, where that is allowed."""
        if name in self._option_string_actions:
            return [name]
        beginning = name.startswith("--") and self.allow_abbrev
        return [option for option in self._option_string_actions if beginning and option.startswith(name)]


def _split(word: str, known: Iterable[str]) -> tuple[str, bool]:
    """The name of an option, and whether a value stands in the same word: `--name=x`, `-cFILE`."""
    name, equals, _ = word.partition("=")
    if not name.startswith("--") and name[:2] in known:
        return word[:2], len(word) > 2
    return name, bool(equals)
