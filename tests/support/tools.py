"""External programs that tests use: found, or the test is skipped with a hint, or fails.

`SIDECAR_TEST_REQUIRE=all` turns a missing program, and whatever else a machine lacks, into a failure, so that
a build machine cannot pass by having nothing installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

_BESIDE_PYTHON = Path(sys.executable).parent


def find(*names: str) -> str | None:
    """The path of the first of `names` that is installed: beside the interpreter, on PATH, or where daemons live."""
    places = os.pathsep.join([str(_BESIDE_PYTHON), os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return next((path for path in (shutil.which(name, path=places) for name in names) if path), None)


def missing(what: str, install: str) -> NoReturn:
    """End the test because `what` is not here; see `unable`."""
    unable(f"{what} is not installed; {install}")


def unable(sentence: str) -> NoReturn:
    """End the test because this machine cannot run it: a skip, or a failure under SIDECAR_TEST_REQUIRE=all."""
    if os.environ.get("SIDECAR_TEST_REQUIRE") == "all":
        pytest.fail(sentence)
    pytest.skip(sentence)


def require(*names: str, install: str) -> str:
    """The path of the first of `names` that is installed.

    `install` is the hint, for example `apt-get install nginx`.
    """
    path = find(*names)
    if path is None:
        missing(" or ".join(names), install)
    return path
