"""A mutation check: would the tests notice a small fault in a module that decides?

`python -m tests.support.mutation` makes one small change at a time to each of the modules below, runs the tests
that mirror the module against it in a process of its own, prints the changes that no test noticed, and fails
when fewer than nine of ten were noticed. What changes nothing (tests.support.equivalents) is printed and left out of
the count. Words narrow it down: `… mutation keys/token limits`. No file is touched.
"""

from __future__ import annotations

import ast
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

from tests.support.equivalents import EQUIVALENTS
from tests.support.mutants import mutants
from tests.support.source import ROOT

ENOUGH = 0.9
"""The share of mutants that must be noticed, of each module."""
PATIENCE, EFFORT = 60, 20
"""Seconds, and seconds of the processor; a mutant that waits or runs for ever is noticed."""

DECIDERS = {
    "keys/token": (),
    "worker/authorize": (),
    "worker/identify": (),
    "worker/fair_share": (),
    "worker/client/room": (),
    "worker/client/head": ("tests/worker/client/test_head_refusals.py",),
    "worker/client/target": (),
    "worker/client/chunked": (),
    "worker/client/known_heads": ("tests/worker/client/test_known_heads_values.py",),
    "worker/client/address": (),
    "worker/upstream/plain": (),
    "events/wire": (),
    "hubs/routing": (),
    "hubs/allowed_routes": (),
    "hubs/usage/documents": (),
    "limits/decision": (),
    "limits/quota_period": (),
    "limits/ratelimit_headers": (),
    "limits/reservation": (),
    "control/totals/rows": ("tests/control/totals/test_sums_model.py",),
    "control/totals/series": (),
    "control/totals/sums": ("tests/control/totals/test_sums_model.py",),
    "control/usage/span": (),
    "control/usage/readings": (),
    "control/anomaly/detectors/signals": (),
    "control/anomaly/detectors/baseline": (),
    "control/anomaly/detectors/windows": (),
    "control/anomaly/detectors/conduct": (),
    "control/anomaly/detectors/networks": (),
    "control/anomaly/detectors/sources": ("tests/control/anomaly/detectors/test_sources_together.py",),
    "control/anomaly/detectors/second": (),
    "control/anomaly/detectors/amounts": (
        "tests/control/anomaly/detectors/test_second.py",
        "tests/control/anomaly/detectors/test_volume.py",
    ),
    "control/anomaly/detectors/volume": (),
    "store/errors": (),
    "redaction": (),
}
"""The pure modules that decide, each with tests that help its mirror (`keys/token`: `tests/keys/test_token.py`)."""

_ARGUMENTS = [
    "-x", "-q", "-W", "ignore", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "_hypothesis_pytestplugin",
    "--hypothesis-profile", "mutation",
]  # fmt: skip
_EARLY = ("pytest_asyncio.plugin", "_hypothesis_pytestplugin", "hypothesis.strategies", "aiohttp", "redis.asyncio", "tests.conftest")


def main(words: list[str]) -> int:
    """Print survivors and the score of each module."""
    # A failure needs to be found, not to be made small or to be remembered.
    hypothesis.settings.register_profile(
        "mutation", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate], database=None, deadline=None
    )
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    scores = {}
    for module, helpers in DECIDERS.items():
        if not words or any(module.startswith(word) for word in words):
            scores[module] = _apart(module, helpers)
    poor = [module for module, (noticed, made) in scores.items() if noticed < ENOUGH * made or not made]
    noticed, made = (sum(column) for column in zip(*scores.values(), strict=True))
    print(f"{noticed} of {made} mutants were noticed ({noticed / made:.1%})")
    if poor:
        print(f"fewer than {ENOUGH:.0%} in {', '.join(poor)}", file=sys.stderr)
    return len(poor) > 0


def _apart(module: str, helpers: tuple[str, ...]) -> tuple[int, int]:
    """`measure` in a process of its own, since it imports what the next module must not have seen."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.write(writing, "{} {}".format(*measure(module, helpers)).encode())
            code = 0
        except SystemExit as reason:
            print(reason)
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        noticed, _, made = pipe.read().partition(" ")
    if status:
        raise SystemExit(f"{module}: could not be measured")
    return int(noticed), int(made)


def measure(module: str, helpers: tuple[str, ...] = ()) -> tuple[int, int]:
    """How many mutants of `module` the tests notice, and how many there are."""
    began = time.monotonic()
    path = Path("sidecar", f"{module}.py")
    tests = [str(Path("tests", module).with_name(f"test_{path.name}")), *helpers]
    source = (ROOT / path).read_text(encoding="utf-8")
    name = ".".join(path.with_suffix("").parts)
    _import_the_rest(name, tests)
    if not survives(name, path, ast.parse(source), tests):
        raise SystemExit(f"{module}: the tests fail without any change")
    noticed = made = 0
    lines, alike = source.splitlines(), [each for each in EQUIVALENTS if each.module == module]
    met = set()
    for line, text, tree in mutants(source):
        same = next((each for each in alike if each.line == lines[line - 1].strip() and text.endswith(f"→  {each.becomes}")), None)
        survived = survives(name, path, tree, tests)
        if same is not None:
            met.add(same)
            if not survived:
                raise SystemExit(f"{path}:{line}: {text} was noticed, so that it is no equivalent")
            print(f"  {path}:{line}: {text} (left out: {same.reason})", flush=True)
            continue
        made += 1
        noticed += not survived
        if survived:
            print(f"  {path}:{line}: {text}", flush=True)
    if met != set(alike):
        raise SystemExit(f"{module}: no mutant is {sorted(set(alike) - met)}")
    print(f"{module}: {noticed} of {made} ({noticed / made:.1%}) in {time.monotonic() - began:.0f} s", flush=True)
    return noticed, made


def survives(name: str, path: Path, tree: ast.Module, tests: list[str]) -> bool:
    """Whether the tests pass with the mutant. Runs in a child process."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        signal.setitimer(signal.ITIMER_VIRTUAL, EFFORT)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        sys.meta_path.insert(0, _Injected(name, path, tree))
        code = 1
        try:
            code = int(pytest.main([*_ARGUMENTS, *tests]))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return status == 0


def _import_the_rest(name: str, tests: list[str]) -> None:
    """Import what the tests need, once, but keep nothing that has seen the module itself."""
    for each in (*_EARLY, *(".".join(Path(test).with_suffix("").parts) for test in tests)):
        importlib.import_module(each)
    ours = {each: module for each, module in sys.modules.items() if each.partition(".")[0] in ("sidecar", "tests")}
    tainted = {name, *(".".join(Path(test).with_suffix("").parts) for test in tests)}
    grew = True
    while grew:
        grew = False
        for each in ours.keys() - tainted:
            if tainted & set(_imports(ours[each])):
                tainted.add(each)
                grew = True
    for each in tainted & ours.keys():
        del sys.modules[each]
        package, _, last = each.rpartition(".")
        vars(ours.get(package, sys)).pop(last, None)


def _imports(module: ModuleType) -> Iterator[str]:
    """Names of the modules that `module` imports, or may: `from a import b` gives `a` and `a.b`."""
    if module.__file__ is None:
        return
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class _Injected(MetaPathFinder, Loader):
    """Imports the mutant in place of the module."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name = name
        self._path = path
        self._tree = tree

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(fullname, self, origin=str(self._path)) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._path)
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
