"""`python -m sidecar`, and what the command `sidecar` calls."""

from __future__ import annotations

import sys

from sidecar.cli.main import main as run


def main() -> int:
    """Run the command line of this process."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
