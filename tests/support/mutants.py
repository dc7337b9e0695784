"""A mutation check: would the tests notice a small fault in a module that decides?

`python -m tests.support.mutants sidecar/keys/token.py tests/keys/test_token.py …` makes one small change at a
time (a comparison, an operator, a number, a condition, a text, a returned value), runs the tests given
against it in a process of its own, and prints the changes that no test noticed. Files are not touched.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATIENCE = 60
"""Seconds; a mutant that runs for ever is noticed."""

_SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.Add, ast.LShift: ast.RShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_EARLY = (
    "pytest",
    "hypothesis",
    "hypothesis.strategies",
    "msgspec",
    "yaml",
    "aiohttp",
    "pytest_asyncio",
    "httptools",
    "redis.asyncio",
    "tests.conftest",
)


def sites(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Nodes that can be changed, each with what is changed about it; texts of documentation and annotations are left alone."""
    skipped = {id(inner) for node in ast.walk(tree) for outer in _inert(node) for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Compare):
            yield from ((node, f"ops.{index}") for index, op in enumerate(node.ops) if type(op) in _SWAPPED)
        elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in _SWAPPED:
            yield node, "op"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "not"
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield node, "test"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | bytes):
            yield node, "value"
        elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield node, "return"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node, "call"


def _inert(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        yield node.annotation
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from ([node.returns] if node.returns is not None else [])
        yield from node.decorator_list
    if isinstance(node, ast.ClassDef):
        yield from (*node.keywords, *node.decorator_list)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def change(node: Any, what: str) -> None:
    """Change a node in place."""
    if what.startswith("ops."):
        index = int(what[4:])
        node.ops[index] = _SWAPPED[type(node.ops[index])]()
    elif what == "op":
        node.op = _SWAPPED[type(node.op)]()
    elif what == "not":
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
    elif what == "test":
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif what == "value":
        value = node.value
        node.value = (
            (not value) if isinstance(value, bool) else value + ("!" if isinstance(value, str) else b"!" if isinstance(value, bytes) else 1)
        )
    else:
        node.value = ast.Constant(None)
    ast.fix_missing_locations(node)


def mutants(source: str) -> Iterator[tuple[int, str, ast.Module]]:
    """Line, description and tree of every mutant."""
    tree = ast.parse(source)
    for index, (node, what) in enumerate(sites(tree)):
        mutant = copy.deepcopy(tree)
        changed, _ = list(sites(mutant))[index]
        before = ast.unparse(node).partition("\n")[0]
        change(changed, what)
        yield getattr(node, "lineno", 0), f"{what}: {before}  →  {ast.unparse(changed).partition(chr(10))[0]}", mutant


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


def survives(name: str, path: Path, tree: ast.Module, tests: list[str]) -> bool:
    """Whether the tests pass with the mutant. Runs in a child process."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        sys.meta_path.insert(0, _Injected(name, path, tree))
        code = 1
        try:
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore", *tests]))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return status == 0


def _import_early(name: str) -> None:
    """Import once what every child needs, but nothing that has seen the module itself."""
    for each in _EARLY:
        importlib.import_module(each)
    if name in sys.modules:
        for each in [each for each in sys.modules if each.partition(".")[0] in ("sidecar", "tests")]:
            del sys.modules[each]


def main() -> int:
    """Print survivors and the score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    options = parser.parse_args()
    name = ".".join(options.module.with_suffix("").parts)
    _import_early(name)
    source = options.module.read_text(encoding="utf-8")
    if not survives(name, options.module, ast.parse(source), options.tests):
        print("the tests fail without any change", file=sys.stderr)
        return 2
    count = lived = 0
    for line, text, tree in mutants(source):
        count += 1
        if survives(name, options.module, tree, options.tests):
            lived += 1
            print(f"{options.module}:{line}: {text}", flush=True)
    print(f"{options.module}: {count - lived} of {count} mutants were noticed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
