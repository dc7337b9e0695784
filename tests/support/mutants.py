"""Mutants of a module: its source with one small change at a time (a comparison, an operator, a number, a condition, a text, …)."""

from __future__ import annotations

import ast
import copy
from collections.abc import Container, Iterator
from typing import Any

_SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.Add, ast.LShift: ast.RShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_SENTENCE = 4
"""Words; a text of as many is for people, and its wording decides nothing."""


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
        elif isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
            yield node, "return"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node, "call"


def _inert(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node
    if isinstance(node, ast.JoinedStr | ast.Constant) and _is_sentence(node):
        yield node
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        yield node.annotation
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
        yield node
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
        yield node.args[0]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from ([node.returns] if node.returns is not None else [])
        yield from node.decorator_list
    if isinstance(node, ast.ClassDef):
        yield from (*node.keywords, *node.decorator_list)


def _is_sentence(node: ast.JoinedStr | ast.Constant) -> bool:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = "".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
    return len(text.split()) >= _SENTENCE


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


def mutants(source: str, lines: Container[int] | None = None) -> Iterator[tuple[int, str, ast.Module]]:
    """Line, description and tree of every mutant; with `lines`, of those alone that change one of them."""
    tree = ast.parse(source)
    for index, (node, what) in enumerate(sites(tree)):
        if lines is not None and getattr(node, "lineno", 0) not in lines:
            continue
        mutant = copy.deepcopy(tree)
        changed, _ = list(sites(mutant))[index]
        before = ast.unparse(node).partition("\n")[0]
        change(changed, what)
        yield getattr(node, "lineno", 0), f"{what}: {before}  →  {ast.unparse(changed).partition(chr(10))[0]}", mutant
