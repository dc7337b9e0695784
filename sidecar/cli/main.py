"""Runs one command: 0 when it is done, 1 when it was refused or failed, 2 for wrong use or a wrong configuration."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from sidecar.cli.admin.text import printable
from sidecar.cli.commands import COMMANDS, build_parser, command
from sidecar.cli.errors import REFUSED, WRONG_USE, CommandError
from sidecar.settings import SettingsError

INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C has ended (128 + SIGINT)."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` (without the program's name) describe; returns the exit code."""
    _replace_closed()
    _take_any_text(sys.stdout)
    known = arguments[:1] if arguments and arguments[0] in COMMANDS else tuple(COMMANDS)
    try:
        try:
            args = build_parser(known).parse_args(list(arguments))
        finally:
            # It leaves by itself when it has printed a help text, and that may find nobody who reads it.
            sys.stdout.flush()
        code = command(args.command).run(args)
        sys.stdout.flush()
    except CommandError as error:
        _complain(str(error))
        return error.code
    except SettingsError as error:
        for fault in error.faults:
            _complain(fault)
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _give_up(sys.stdout)
        return REFUSED
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _give_up(sys.stdout)
        _complain(f"the output cannot be written ({error.strerror}); make room, or send it elsewhere.")
        return REFUSED
    return code


def _replace_closed() -> None:
    """Nothing to read, and nobody who reads, in place of what the caller has closed (`<&-`, `>&-`): Python has None there.

    A command would fail at its first word, and an error that is printed to None goes to standard output.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _take_any_text(out: TextIO) -> None:
    """No text may fail to be written, for it may hold a secret that is shown once: files are UTF-8, an older terminal shows `?`."""
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace") if out.isatty() else out.reconfigure(encoding="utf-8", errors="replace")


def _complain(sentence: str) -> None:
    """A line on standard error; whoever does not read it gets the exit code all the same."""
    try:
        print(f"sidecar: {printable(sentence)}", file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """So that the interpreter does not find out again, when it ends, that `stream` takes no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
