"""What the whole process tree lives under: private files, no core dumps, all the descriptors it may have."""

from __future__ import annotations

import os
import resource


def apply() -> None:
    """Set it for this process; children inherit it."""
    os.umask(0o077)
    # A core file would hold the pepper and the hub's key. 0 keeps the kernel from writing one, but not from piping it to a program
    # (core(5)); 1, less than the smallest core file, keeps it from both.
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    least = 0 if hard == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (least, least))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
