"""`python -m sidecar`, and what the command `sidecar` calls."""

from __future__ import annotations

import importlib
import sys


def main() -> int:
    """Run the command line of this process."""
    try:
        # By name, for an import would be made before Ctrl-C can be heard; most of the time of a short command goes here.
        cli = importlib.import_module("sidecar.cli.main")
    except KeyboardInterrupt:
        return 130  # As the command line does, which is not there yet.
    return int(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
