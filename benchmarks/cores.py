"""Which processor core does what: the proxy with everything that it needs on one, the load and the hub on the other."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """Core numbers for `taskset`. Where there is one core only, everything shares it and ratios mean little."""

    proxy: tuple[int, ...]
    load: tuple[int, ...]

    @classmethod
    def divide(cls, proxies: int = 1) -> Cores | None:
        """`proxies` cores for what is measured and as many others for the load; None when there are not enough."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2 * proxies:
            return cls((usable[0],), (usable[0],)) if proxies == 1 else None
        return cls(tuple(usable[:proxies]), tuple(usable[proxies : 2 * proxies]))

    @property
    def apart(self) -> bool:
        """Whether load and proxy have cores of their own."""
        return self.proxy != self.load


def pinned(cores: tuple[int, ...], *command: str) -> list[str]:
    """`command` held to `cores`, with all of its children."""
    taskset = shutil.which("taskset")
    if taskset is None:
        raise FileNotFoundError("taskset is not installed; Debian has it in util-linux")
    return [taskset, "--cpu-list", ",".join(map(str, cores)), *command]


def describe() -> dict[str, str]:
    """The machine, as a report names it."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    usable = len(os.sched_getaffinity(0))
    return {"processor": model, "cores": str(usable), "kernel": platform.release(), "python": platform.python_version(), "load": load}
