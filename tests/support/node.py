"""The Node packages that the documentation names, installed once from a lock that names no registry."""

from __future__ import annotations

import subprocess

from tests.support.source import ROOT
from tests.support.tools import missing, require

PROJECT = ROOT / "tests" / "e2e" / "node"
INSTALL_WITHIN = 600


def node() -> str:
    """The interpreter, with the packages of `tests/e2e/node` in place for programs that lie there."""
    program = require("node", install="apt-get install nodejs npm")
    npm = require("npm", install="apt-get install npm")
    installed = PROJECT / "node_modules" / ".package-lock.json"
    if not installed.is_file() or installed.stat().st_mtime < (PROJECT / "package-lock.json").stat().st_mtime:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=INSTALL_WITHIN, check=False)
        if done.returncode:
            missing("@aigne/aigne-hub", f"npm ci failed: {done.stderr.strip()[-500:]}")
        installed.touch()
    return program
