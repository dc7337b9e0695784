"""Processes that are measured: started on their cores, counted with all of their children, ended in good order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.cores import pinned

TICKS = os.sysconf("SC_CLK_TCK")
END_WITHIN = 15.0

Role = Callable[[str], str]
"""Names a process after its command line."""


class Processes:
    """What one proxy is made of. Processor time and memory come by role: what a process is for."""

    def __init__(self, cores: tuple[int, ...], directory: Path) -> None:
        """`directory` gets the log of each process."""
        self._cores = cores
        self._directory = directory
        self._started: list[tuple[subprocess.Popen[bytes], Role]] = []

    def start(self, role: str | Role, command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start `command`. With a function as `role` each of its descendants is named by it, else all get one name."""
        named = role if callable(role) else lambda _: role
        name = role if isinstance(role, str) else "main"
        log = self._directory / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                pinned(self._cores, *command),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._started.append((process, named))
        return process

    def check(self) -> None:
        """Raise RuntimeError when one of them has ended."""
        for process, _ in self._started:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {self.logs()}")

    def logs(self) -> str:
        """The ends of what they have written."""
        return "\n".join(log.read_text(errors="replace")[-1000:] for log in sorted(self._directory.glob("*.log")))

    def pids(self) -> dict[int, str]:
        """All processes with their roles."""
        return {pid: role(_command(pid)) for process, role in self._started for pid in _tree(process.pid)}

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time, user and system, by role."""
        return _sum(self.pids(), cpu_seconds)

    def resident(self) -> dict[str, float]:
        """Bytes of resident memory by role, pages shared among the processes counted once (proportional set size)."""
        return _sum(self.pids(), proportional_bytes)

    def anonymous(self) -> dict[str, float]:
        """Bytes of memory by role that no file stands behind: what grows with the work, and is shared with nobody."""
        return _sum(self.pids(), anonymous_bytes)

    def stop(self) -> None:
        """End all, the last one first."""
        for process, _ in reversed(self._started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_WITHIN)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._started.clear()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def proportional_bytes(pid: int) -> float:
    """Proportional set size of a process."""
    return _rollup(pid, "Pss:")


def anonymous_bytes(pid: int) -> float:
    """The anonymous part of it."""
    return _rollup(pid, "Pss_Anon:")


def wait_for(condition: Callable[[], object], what: str, within: float = 30.0, pause: float = 0.02) -> None:
    """Ask `condition` until it is true; errors of the network count as no. Raises TimeoutError."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {within:.0f} s")
        time.sleep(pause)


def _sum(pids: Mapping[int, str], measure: Callable[[int], float]) -> dict[str, float]:
    total: defaultdict[str, float] = defaultdict(float)
    for pid, role in pids.items():
        with contextlib.suppress(OSError):
            total[role] += measure(pid)
    return dict(total)


def _rollup(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(name):
            return float(line.split()[1]) * 1024
    raise OSError(f"this kernel does not tell {name} of a process")


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
