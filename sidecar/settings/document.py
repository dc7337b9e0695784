"""From a YAML file and the environment to one tree of raw values; what they mean is decided in `load`.

Scalars are read as YAML 1.2 reads them: `off` is text and no flag, `0123` is no octal number, `12:30` is
no number at all. A name that is given twice is a fault, for the second one would win in silence.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

ENVIRONMENT_PREFIX = "SIDECAR_"
_MOST_VALUES = 100_000
_REFERENCE = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|(\$\{)")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema and without repeated names."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's interface

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a name that is there twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a name must be plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def decimal(self, node: yaml.ScalarNode) -> int:
        """A whole number: always decimal."""
        return int(node.value)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.decimal)


def parse(text: str) -> Any:
    """The value that YAML `text` holds; raises yaml.YAMLError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.reader.ReaderError as error:
        raise yaml.MarkedYAMLError(
            problem=f"the character U+{error.character:04X} may only stand in double quotes, as an escape; take it out",
            problem_mark=_mark(text, error.position),
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # PyYAML lets through what `!!int x`, `!!bool x`, a timestamp without a day or endless nesting make of its constructors.
        raise yaml.YAMLError(f"a value cannot be read ({type(error).__name__})") from error


def _mark(text: str, position: int) -> yaml.Mark:
    line_start = text.rfind("\n", 0, position) + 1
    return yaml.Mark("", position, text.count("\n", 0, position), position - line_start, None, 0)


def problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the line itself, which may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error) or type(error).__name__
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"


def text_of(file: Path) -> str:
    """What stands in `file`; raises OSError and UnicodeDecodeError.

    A mark of byte order, with which some editors begin a file, is no part of a secret.
    A pipe, such as the shell's `<(…)`, gives its text once: a reload would find nothing, and nothing means defaults.
    """
    with file.open(encoding="utf-8-sig") as stream:
        text = stream.read()
        if not text and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.ENODATA, "it is a pipe with nothing in it, which can be read once only")
    return text


def read(file: Path | None, faults: list[str]) -> dict[str, Any]:
    """The mapping in `file`; {} with the reason added to `faults` when there is none."""
    if file is None:
        return {}
    try:
        tree = parse(text_of(file))
    except OSError as error:
        faults.append(f"{file}: cannot be read ({error.strerror}); give the path of a configuration file with -c")
        return {}
    except UnicodeDecodeError:
        faults.append(f"{file}: is not UTF-8 text")
        return {}
    except yaml.YAMLError as error:
        faults.append(f"{file}: is not YAML ({problem(error)})")
        return {}
    if tree is None:
        return {}
    if _is_endless(tree):
        advice = "an alias (*name) stands within its own anchor (&name), or aliases of aliases multiply; write the values out"
        faults.append(f"{file}: has more than {_MOST_VALUES} values: {advice}")
        return {}
    if not isinstance(tree, dict):
        faults.append(f"{file}: must hold a mapping of settings")
        return {}
    return tree


def _is_endless(tree: Any) -> bool:
    """Whether a few lines stand for more than anybody could mean: the supervisor reads them too, and must not be held up."""
    left, seen = [tree], 0
    while left and seen <= _MOST_VALUES:
        node = left.pop()
        seen += 1
        left += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return seen > _MOST_VALUES


def expand(node: Any, environment: Mapping[str, str], path: str, faults: list[str]) -> Any:
    """`node` with `${NAME}` replaced in every scalar; `$${` stands for `${` itself."""
    if isinstance(node, dict):
        return {str(key): expand(value, environment, join(path, str(key)), faults) for key, value in node.items()}
    if isinstance(node, list):
        return [expand(value, environment, f"{path}[{index}]", faults) for index, value in enumerate(node)]
    if not isinstance(node, str):
        return node

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        if match[3]:
            faults.append(f"{path}: has a ${{ that names no environment variable; write ${{NAME}}, or $${{ for the characters themselves")
        elif match[2] not in environment:
            faults.append(f"{path}: the environment variable {match[2]} is not set; export it, or write the value here")
        return environment.get(match[2] or "", "")

    return _REFERENCE.sub(replace, node)


def overlay(tree: dict[str, Any], environment: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """Lay the `SIDECAR_…` variables over `tree`; returns which variable each dotted path came from."""
    origins: dict[str, str] = {}
    for (*parents, leaf), name in _variables(environment):
        path = ".".join([*parents, leaf])
        if path in origins:
            faults.append(f"{path}: is given by {name} too; take one of the two variables away")
            continue
        origins[path] = name
        try:
            _place(tree, parents, leaf, environment[name])
        except TypeError:
            faults.append(f"{path}: cannot be set, for a single value stands where its section belongs")
    return origins


def _variables(environment: Mapping[str, str]) -> list[tuple[list[str], str]]:
    """Path and name of each variable that sets something; a section before what stands in it, which it would take away in silence."""
    found = []
    for name in environment:
        # Names without `__` are ignored: Kubernetes injects names such as SIDECAR_PORT for a service called sidecar.
        if name.startswith(ENVIRONMENT_PREFIX) and ("__" in name or name == "SIDECAR_DATA_DIR"):
            # A setting at the top has no level to separate: SIDECAR__ENFORCEMENT.
            found.append((name.removeprefix(ENVIRONMENT_PREFIX).removeprefix("_").lower().split("__"), name))
    return sorted(found, key=lambda one: (len(one[0]), one))


def with_origin(fault: str, origins: Mapping[str, str]) -> str:
    """`fault` with the environment variable that its value came from, so that nobody searches the file for it."""
    path, separator, sentence = fault.partition(": ")
    return f"{path} (from {origins[path]}){separator}{sentence}" if path in origins else fault


def join(path: str, name: str) -> str:
    """The dotted path of `name` below `path`."""
    return f"{path}.{name}" if path else name


def _place(tree: dict[str, Any], parents: list[str], leaf: str, value: Any) -> None:
    node: Any = tree
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        node = node[parent]
        if not isinstance(node, dict):
            raise TypeError(parent)
    node[leaf] = value
