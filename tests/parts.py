"""The whole suite in three processes at a time: while some wait for what they started, the others compute.

`python -m tests.parts`; what the later parts say is printed at the end.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import BinaryIO

from tests.support.source import ROOT

NAMED = (
    ("cli", "e2e", "store"),
    ("benchmarks", "console", "deploy", "exploits", "failures", "supervisor", "wire", "worker"),
)
"""What all parts but the last have, which has the rest; distributed so that all end together on two cores."""

ALONE = ("failures/test_overload.py",)
"""What a promise in milliseconds is held to: it runs before all others, which would take the processor from it."""


def commands() -> tuple[list[str], list[list[str]]]:
    """How that which runs alone is run, and each part."""
    pytest = [sys.executable, "-m", "pytest"]
    alone = [f"tests/{name}" for name in ALONE]
    named = [[f"tests/{name}" for name in names] for names in NAMED]
    before = [f"--ignore={path}" for path in alone]
    elsewhere = [f"--ignore={path}" for paths in named for path in paths]
    return [*pytest, *alone], [*([*pytest, *paths, *before] for paths in named), [*pytest, "tests", *elsewhere, *before]]


def main() -> int:
    # Whoever ends a run wants to know how far it came.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    alone, (first, *others) = commands()
    codes = [subprocess.run(alone, cwd=ROOT, check=False).returncode]
    with ExitStack() as stack:
        started: list[subprocess.Popen[bytes]] = []
        for command in others:
            said = stack.enter_context(tempfile.TemporaryFile())
            stack.callback(tell, said)
            started.append(subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT))
            stack.callback(end, started[-1])
        codes += [subprocess.run(first, cwd=ROOT, check=False).returncode, *(process.wait() for process in started)]
    return max(codes, key=abs)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill `process` if it runs."""
    process.kill()
    process.wait()


def tell(said: BinaryIO) -> None:
    """Print what a part said."""
    said.seek(0)
    sys.stdout.flush()
    sys.stdout.buffer.write(said.read())


if __name__ == "__main__":
    sys.exit(main())
