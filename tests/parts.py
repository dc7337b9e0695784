"""The whole suite in three processes at a time: while some wait for what they started, the others compute.

`python -m tests.parts`; what the later parts say is printed behind the first.
"""

from __future__ import annotations

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
"""Directories of all parts but the last, which has the rest; distributed so that all end together on two cores."""


def commands() -> list[list[str]]:
    """How each part is run."""
    pytest = [sys.executable, "-m", "pytest"]
    named = [[f"tests/{name}" for name in names] for names in NAMED]
    rest = [f"--ignore={path}" for paths in named for path in paths]
    return [*([*pytest, *paths] for paths in named), [*pytest, "tests", *rest]]


def main() -> int:
    first, *others = commands()
    with ExitStack() as stack:
        started: list[tuple[subprocess.Popen[bytes], BinaryIO]] = []
        for command in others:
            said = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
            stack.callback(process.kill)
            started.append((process, said))
        codes = [subprocess.run(first, cwd=ROOT, check=False).returncode]
        for process, said in started:
            codes.append(process.wait())
            said.seek(0)
            sys.stdout.flush()
            sys.stdout.buffer.write(said.read())
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main())
