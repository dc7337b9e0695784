"""A child with the manners of the real ones and none of their work: `python fake_child.py <log> <role> …`.

Writes each thing that happens to it as a line `<role> <index> <pid> <what>` to the log. What it does is
told by the access key of its settings: `crash`, `mute` (never ready), `stubborn` (ignores SIGTERM).
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path

from sidecar.settings.load import from_bytes
from sidecar.supervisor.lifeline import die_with_parent


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("role")
    for name in ("--index", "--parent", "--settings-fd", "--ready-fd", "--lock-fd"):
        parser.add_argument(name, type=int)
    for name in ("--listen-fd", "--admin-fd", "--metrics-fd"):
        parser.add_argument(name, type=int, action="append", default=[])
    options = parser.parse_args()
    die_with_parent(options.parent, signal.SIGKILL)
    with os.fdopen(options.settings_fd, "rb") as stream:
        settings = from_bytes(stream.read())
    behaviour = settings.hub.access_key.reveal()

    def note(what: str) -> None:
        with options.log.open("a") as log:
            log.write(f"{options.role} {options.index} {os.getpid()} {what}\n")

    told: list[int] = []
    last = signal.SIGUSR2 if options.role == "control" else signal.SIGTERM
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda number, _: (told.append(number), note(signal.Signals(number).name)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR2))
    note(f"start {settings.proxy.realm}")
    if behaviour == "crash" and options.role == "worker":
        note("crash")
        return 3
    listeners = [socket.socket(fileno=fd) for fd in options.listen_fd + options.admin_fd + options.metrics_fd]
    for listener in listeners:
        listener.listen(4096)  # nobody accepts here, and who looks again and again whether it is open must not fill the queue
    if behaviour != "mute" or options.role != "worker":
        note("ready")  # first, for what the supervisor does about it must come after it
        os.write(options.ready_fd, b"\n")
    while last not in told or (behaviour == "stubborn" and options.role == "worker"):
        time.sleep(0.005)
    note("end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
