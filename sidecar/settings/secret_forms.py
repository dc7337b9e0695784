"""The two forms of a secret, its setting and `<setting>_file`: which one counts, and where the secrets of a configuration lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sidecar.settings.declaration import Section, Settings
from sidecar.settings.document import expand, join, overlay, read
from sidecar.settings.sections import fields, is_secret, is_secret_list, subsection
from sidecar.settings.show import without_password
from sidecar.settings.values import StoreUrl


def outrank(tree: dict[str, Any], origins: Mapping[str, str]) -> Iterator[str]:
    """A secret that a variable gives, in whichever form, outranks the other form of it in the file: remove that and say its path."""
    for path in secrets_of(Settings):
        for given, other in ((path, f"{path}_file"), (f"{path}_file", path)):
            if given in origins and other not in origins:
                section, leaf = _section(tree, other)
                section.pop(leaf, None)
                yield other


def secrets_of(section: type[Section], path: str = "") -> Iterator[str]:
    """The path of every secret in `section`."""
    for info, hint, _ in fields(section):
        here, inner = join(path, info.encode_name), subsection(hint)
        if inner is not None:
            yield from secrets_of(inner, here)
        elif is_secret(hint) or is_secret_list(hint):
            yield here


def secret_files(file: Path | None, environment: Mapping[str, str]) -> dict[str, Path]:
    """The files that the secrets of a valid configuration lie in, by setting: the configuration file itself, where one stands there."""
    written = read(file, [])
    found = {path: file for path in secrets_of(Settings) if file is not None and _is_written(path, _value(written, path))}
    tree = expand(written, environment, "", [])
    origins = overlay(tree, environment, [])
    outranked = {*origins, *outrank(tree, origins)}
    named = {f"{path}_file": _value(tree, f"{path}_file") for path in secrets_of(Settings)}
    return {path: place for path, place in found.items() if path not in outranked} | {
        path: Path(str(place)) for path, place in named.items() if place
    }


def _is_written(path: str, value: Any) -> bool:
    """Whether `value`, as it stands in the file, is a secret: no reference to a variable, and no address without a password."""
    if isinstance(value, list):
        return any(_is_written(path, one) for one in value)
    if not isinstance(value, str) or not value or "${" in value:
        return False
    return path != "store.url" or without_password(StoreUrl(value)) != value


def _value(tree: dict[str, Any], path: str) -> Any:
    section, leaf = _section(tree, path)
    return section.get(leaf)


def _section(tree: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The mapping in which `path` would be, and its name there; an empty one where the tree has none."""
    *parents, leaf = path.split(".")
    node: Any = tree
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    return (node if isinstance(node, dict) else {}), leaf
