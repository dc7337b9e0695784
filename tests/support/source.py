"""The product's own source as data: modules, what they import, how long their functions are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "sidecar"


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree."""
        return tuple(ast.walk(self.tree))

    @property
    def package(self) -> str:
        """The first name below `sidecar`, or "" for the package's own `__init__`."""
        return self.name.split(".")[1] if "." in self.name else ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder's own `__init__`."""
        return self.path.name == "__init__.py"

    def imports(self) -> Iterator[tuple[str, int]]:
        """Every dotted name that is imported, with its line; `from a import b` gives `a.b`."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def modules() -> dict[str, Module]:
    """Every module of the product by its dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, path.read_text(encoding="utf-8"))
    return found


def internal(name: str, known: dict[str, Module]) -> str | None:
    """The module of the product that the imported `name` stands for."""
    while name:
        if name in known:
            return name
        name = name.rpartition(".")[0]
    return None
