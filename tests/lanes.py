"""The whole suite, piece by piece on four lanes: `python -m tests.lanes`.

A piece is some directories or files in a pytest process of their own. Two prompt lanes run the pieces whose tests
start processes and hold them to seconds; they leave the cores idle half of the time, which two patient lanes of lower
priority fill with the pieces that mostly compute. Each lane takes the next piece of its list, so the heaviest
come first there. Afterwards, alone, comes what measures how long things take. What a piece says is printed whole, in the order of the lists.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from tests.support.source import ROOT

MEASURING = ("failures/test_overload.py", "store/test_client.py")
E2E_PARTS = 6
LANES = 2
"""Of each kind."""
PATIENT_NICE = 3
"""How much a patient lane steps back: enough to be out of the way, and not so much that a busy machine starves it."""


@dataclass(frozen=True)
class Piece:
    """Paths below tests/; of a directory everything but what is `ignored`."""

    name: str
    paths: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """The words that run it."""
        ignored = [f"--ignore=tests/{path}" for path in self.ignored]
        return [sys.executable, "-m", "pytest", *(str(Path("tests", path)) for path in self.paths), *ignored]


def _parts(directory: str, count: int) -> list[Piece]:
    """The files of a directory, dealt out by name."""
    files = sorted(f"{directory}/{path.name}" for path in (ROOT / "tests" / directory).glob("test_*.py"))
    return [Piece(f"{directory} {part + 1}/{count}", tuple(files[part::count])) for part in range(count)]


def _but_measuring(directory: str) -> Piece:
    return Piece(directory, (directory,), tuple(path for path in MEASURING if path.startswith(f"{directory}/")))


def prompt() -> list[Piece]:
    """What starts processes and waits for them, or is held to fractions of a second."""
    last = ("cli", "deploy", "store", "exploits", "keys", "supervisor", "limits", "wire")
    return [
        _but_measuring("failures"),
        *_parts("e2e", E2E_PARTS),
        _but_measuring("control"),
        *map(_but_measuring, last),
    ]


def alone() -> list[Piece]:
    """What measures how long things take: beside others it would measure those."""
    return [Piece("measuring", MEASURING)]


def patient() -> list[Piece]:
    """All else; the last piece is what no other one names."""
    named = [
        Piece("compiled", ("test_compiled.py",)),
        Piece("console", ("console",)),
        Piece("worker", ("worker",)),
        Piece("packaging", ("test_packaging.py", "benchmarks")),
    ]
    taken = {path.partition("/")[0] for piece in [*prompt(), *named] for path in piece.paths}
    return [*named, Piece("the rest", ("",), tuple(sorted(taken)))]


class Run:
    """Pieces under way, and what is known of those that ended."""

    def __init__(self, prompt: list[Piece], patient: list[Piece], alone: list[Piece]) -> None:
        self._lock = threading.Lock()
        self._order = [*prompt, *patient, *alone]
        self._alone = alone
        self._waiting = {False: deque(prompt), True: deque(patient)}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._said: dict[Piece, bytes] = {}
        self._printed = 0
        self._ended = False
        self.failed: list[str] = []

    def lane(self, patient: bool) -> None:
        """Run one piece after another; a prompt lane that has no more helps the patient ones."""
        while piece := self._next(patient):
            self._run(piece, PATIENT_NICE if patient else 0)

    def alone(self) -> None:
        """Run what wants the machine for itself; call it when the lanes have ended."""
        for piece in self._alone:
            self._run(piece, 0)

    def end(self) -> None:
        """Stop what runs."""
        self._ended = True
        for process in list(self._running):
            process.terminate()

    def _run(self, piece: Piece, nice: int) -> None:
        began = time.monotonic()
        process = subprocess.Popen(piece.command(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if nice:
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + nice)
        self._running.add(process)
        said, _ = process.communicate()
        self._running.discard(process)
        self._tell(piece, said, process.returncode, time.monotonic() - began)

    def _next(self, patient: bool) -> Piece | None:
        with self._lock:
            lists = (self._waiting[True],) if patient else (self._waiting[False], self._waiting[True])
            return next((waiting.popleft() for waiting in lists if waiting), None) if not self._ended else None

    def _tell(self, piece: Piece, said: bytes, code: int, took: float) -> None:
        with self._lock:
            if code:
                self.failed.append(piece.name)
            self._said[piece] = b"== %s, %.0f s\n" % (piece.name.encode(), took) + said
            while self._printed < len(self._order) and (text := self._said.get(self._order[self._printed])) is not None:
                sys.stdout.buffer.write(text)
                sys.stdout.flush()
                self._printed += 1


def main() -> int:
    run = Run(prompt(), patient(), alone())
    threads = [threading.Thread(target=run.lane, args=(kind,)) for kind in (False, True) for _ in range(LANES)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
        run.alone()
    finally:
        run.end()
    print(f"failed: {', '.join(run.failed)}" if run.failed else "all passed")
    return 1 if run.failed else 0


def files_of(piece: Piece) -> set[Path]:
    """The test files that pytest finds for a piece."""
    places = [ROOT / "tests" / path for path in piece.paths]
    found = {file for place in places for file in ([place] if place.is_file() else place.rglob("test_*.py"))}
    ignored = [ROOT / "tests" / path for path in piece.ignored]
    return {file for file in found if not any(file.is_relative_to(path) for path in ignored)}


if __name__ == "__main__":
    sys.exit(main())
