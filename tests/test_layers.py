"""The shape of the source: imports point down only, planes never meet, files and functions stay small."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.support.source import PACKAGE, ROOT, Module, internal, modules

MODULES = modules()
IDS = sorted(MODULES)
FOLDERS = [name for name in IDS if MODULES[name].is_folder]

LAYERS = (
    (
        "ground",
        {
            "",
            "collector",
            "log",
            "listening",
            "outlet",
            "redaction",
            "refusals",
            "spelling",
            "taken",
            "throttle",
            "settings",
            "store",
            "events",
        },
    ),
    ("subjects", {"keys", "limits", "hubs"}),
    ("planes", {"worker", "control", "supervisor"}),
    ("top", {"cli", "demo", "child", "__main__"}),
)
RANK = {package: rank for rank, (_, packages) in enumerate(LAYERS) for package in packages}
PLANES = dict(LAYERS)["planes"]

FILE_LINES = 300
FUNCTION_LINES = 60


@pytest.fixture(params=IDS)
def module(request: pytest.FixtureRequest) -> Module:
    return MODULES[request.param]


def _edges_of(module: Module) -> list[tuple[str, int]]:
    found = ((internal(name, MODULES), line) for name, line in module.imports() if name.split(".")[0] == PACKAGE)
    return [(target, line) for target, line in found if target is not None and target != module.name]


EDGES = {name: _edges_of(module) for name, module in MODULES.items()}
"""Module → the modules of the product that it imports, with the line."""


def test_every_package_has_a_layer() -> None:
    assert {module.package for module in MODULES.values()} <= set(RANK), "name the new package in LAYERS"


def test_imports_point_down(module: Module) -> None:
    for target, line in EDGES[module.name]:
        theirs = MODULES[target].package
        assert RANK[theirs] <= RANK[module.package], f"{module.path}:{line}: {module.package} is below {theirs}"


def test_planes_never_import_each_other(module: Module) -> None:
    if module.package not in PLANES:
        return
    for target, line in EDGES[module.name]:
        other = MODULES[target].package
        assert other == module.package or other not in PLANES, f"{module.path}:{line}: {module.package} imports {other}"


def test_no_import_cycles_between_modules() -> None:
    graph = {name: {target for target, _ in EDGES[module.name]} for name, module in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " → ".join(error.args[1]))


def _folder_below(above: str, module: Module) -> str | None:
    """The folder right below `above` in which the module lies; None for one elsewhere, or in `above` itself."""
    if not module.name.startswith(f"{above}."):
        return None
    first, *rest = module.name.removeprefix(f"{above}.").split(".")
    return first if rest or module.is_folder else None


@pytest.mark.parametrize("above", FOLDERS)
def test_no_import_cycles_between_folders(above: str) -> None:
    """A folder's own files put what is in the folders below them together, and share what is small: they are left out."""
    graph: dict[str, set[str]] = {}
    for module in MODULES.values():
        mine = _folder_below(above, module)
        if mine is not None:
            theirs = {_folder_below(above, MODULES[target]) for target, _ in EDGES[module.name]}
            graph.setdefault(mine, set()).update(theirs - {None, mine})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("folders import each other: " + " → ".join(error.args[1]))


def test_imports_are_absolute_and_at_the_top(module: Module) -> None:
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: relative import"
    for function in module.functions():
        for node in ast.walk(function):
            assert not isinstance(node, ast.Import | ast.ImportFrom), f"{module.path}:{node.lineno}: import inside {function.name}()"


def test_only_the_store_knows_the_redis_client(module: Module) -> None:
    if module.package == "store":
        return
    for name, line in module.imports():
        assert name.split(".")[0] not in {"redis", "valkey", "hiredis"}, f"{module.path}:{line}: ask sidecar.store"


def test_no_global_state(module: Module) -> None:
    for node in module.nodes:
        assert not isinstance(node, ast.Global), f"{module.path}:{node.lineno}: global {', '.join(node.names)}"


def test_files_and_functions_are_small(module: Module) -> None:
    lines = module.text.count("\n")
    assert lines <= FILE_LINES, f"{module.path} has {lines} lines; split it"
    for function in module.functions():
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{module.path}:{function.lineno}: {function.name}() has {length} lines"


def test_every_module_says_what_it_is_for(module: Module) -> None:
    text = ast.get_docstring(module.tree)
    assert text or not module.text.strip(), f"{module.path} opens without its one responsibility"


def test_test_files_mirror_source_files() -> None:
    """`tests/keys/test_token.py` tests `sidecar/keys/token.py`; `test_token_forms.py` may test one side of it."""
    strangers = []
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = test.parent.relative_to(ROOT / "tests")
        source = ROOT / PACKAGE / folder
        if folder.parts and not source.is_dir():
            continue  # a folder of tests that cross packages, such as tests/e2e
        words = test.stem.removeprefix("test_").split("_")
        names = {"_".join(words[:count]) for count in range(1, len(words) + 1)}
        known = {path.stem.strip("_") for path in source.iterdir()} if folder.parts else names
        if not names & known:
            strangers.append(str(test.relative_to(ROOT)))
    assert not strangers, f"no source file has these names: {strangers}"
