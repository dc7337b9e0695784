"""What the whole process tree lives under: private files, no core dumps, all the descriptors it may have."""

from __future__ import annotations

import os
import resource


def apply() -> None:
    """Set it for this process; children inherit it."""
    os.umask(0o077)
    # A core file would hold the pepper and the hub's key.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
