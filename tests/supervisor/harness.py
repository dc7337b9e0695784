"""`python -m tests.supervisor.harness <configuration> <log>`: the real supervisor with fake children and a real store."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar import log
from sidecar.cli.serve import CHILD, claim
from sidecar.settings import load
from sidecar.supervisor import hardening
from sidecar.supervisor.process import ChildProcess, PythonLauncher
from sidecar.supervisor.run import Supervisor

FAKE = Path(__file__).with_name("fake_child.py")


def main(file: Path, events: Path) -> int:
    settings = load(file, {})
    log.setup("debug", "supervisor")
    hardening.apply()
    fds, sockets, control_sockets = claim(settings)
    fake = PythonLauncher([sys.executable, str(FAKE), str(events)], os.environ)
    real = PythonLauncher(CHILD, os.environ)

    def launch(role: str, index: int, settings: bytes, fds: Mapping[str, Sequence[int]]) -> ChildProcess:
        return (real if role == "store" else fake)(role, index, settings, fds)

    return Supervisor(
        settings, launch, reload=lambda running: load(file, {}), fds=fds, sockets=sockets, control_sockets=control_sockets
    ).run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
