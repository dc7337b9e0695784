"""Packages of the npm registry for tests that run a real client, installed once into build/."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.source import ROOT
from tests.support.tools import missing, require

HUB_CLIENT = "@aigne/aigne-hub@0.10.16"


def node_with(package: str) -> tuple[str, Path]:
    """The node program, and a folder in which `package` can be imported. Skips the test when there is neither."""
    node = require("node", install="apt-get install nodejs npm")
    npm = require("npm", install="apt-get install nodejs npm")
    folder = ROOT / "build" / "node" / package.strip("@").replace("/", "-")
    done = folder / ".installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", package]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=420)
        if finished.returncode:
            missing(f"the npm package {package}", "give npm a registry that has it")
        done.touch()
    return node, folder
