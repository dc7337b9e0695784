"""Reads the configuration: a YAML file, then the environment over it; every fault is reported at once.

`${NAME}` is expanded in scalars after parsing, so a secret that contains YAML syntax cannot change
the document. A setting that holds a secret may instead be given as `<name>_file`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, get_origin

import msgspec
import yaml

from sidecar.redaction import without_secrets
from sidecar.settings.check import faults_of
from sidecar.settings.declaration import Section, Settings
from sidecar.settings.document import expand, join, overlay, parse, problem, read, text_of, with_origin
from sidecar.settings.secret_forms import outrank
from sidecar.settings.sections import alternatives, choices, fields, is_optional, is_secret, is_secret_list, item_section, subsection
from sidecar.settings.values import Secret, within_64_bits
from sidecar.spelling import did_you_mean

_MISSING = object()
_MESSAGE = re.compile(r"Expected `(?P<kind>[^`]*)`(?P<rest>.*?)(?:, got `[^`]*`)?$")
_KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "array": "a list",
}


class SettingsError(Exception):
    """The configuration is wrong; `faults` has one `path: sentence` for each fault.

    `rest` is what it says all the same, with the default of each setting that is at fault; None where nothing can be read.
    """

    def __init__(self, faults: list[str], rest: Settings | None = None) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
        self.rest = rest


Check = Callable[[Settings], Iterable[str]]
"""What is wrong with settings that are well formed, one `path: sentence` for each fault."""


def load(file: Path | None, environment: Mapping[str, str], more: Check = lambda _: ()) -> Settings:
    """Read `file` (None: defaults only) and the `SIDECAR_…` variables of `environment`; `more` is checked too.

    Raises SettingsError with every fault found.
    """
    faults: list[str] = []
    unexpanded: list[str] = []
    try:
        tree = expand(read(file, faults), environment, "", unexpanded)
    except RecursionError:
        raise SettingsError([f"{file}: is nested too deeply, by aliases (*name) of aliases; write the values out"]) from None
    unreadable = bool(faults)
    origins = overlay(tree, environment, faults)
    outranked = {*origins, *outrank(tree, origins)}
    # What a variable outranks need not make sense in the file: nobody reads it.
    faults += [fault for fault in unexpanded if fault.partition(": ")[0] not in outranked]
    _follow_data_dir(tree)
    settings = _section(Settings, tree, "", faults)
    if not unreadable and isinstance(settings, Settings):
        faults += list(_new([*faults_of(settings), *more(settings)], [fault.partition(": ")[0] for fault in faults]))
    if faults:
        # Two variables or lines may have been taken for each other: a value that is quoted may be a secret.
        told = [with_origin(without_secrets(fault), origins) for fault in faults]
        raise SettingsError(told, settings if isinstance(settings, Settings) else None)
    assert isinstance(settings, Settings)
    return settings


def decode_scalar(type_: type, value: object) -> object:
    """msgspec's hook for the kinds of `settings.values`."""
    parse = getattr(type_, "parse", None)
    if parse is not None:
        return parse(value if isinstance(value, str) else str(value))
    if not isinstance(value, str):
        # YAML has read a number, and may have lost digits of a secret that only looks like one.
        raise ValueError("must be text; write it in quotes")
    return type_(value)


def encode_scalar(value: object) -> object:
    """The inverse of `decode_scalar`; gives secrets away, so only for the pipe to a child process."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, float):
        return f"{float(value) * 1000:.6f}ms"
    return int(value) if isinstance(value, int) else str.__str__(value)


def to_bytes(settings: Settings) -> bytes:
    """Settings for a child process, secrets included."""
    return msgspec.msgpack.encode(settings, enc_hook=encode_scalar)


def from_bytes(data: bytes) -> Settings:
    """What `to_bytes` wrote."""
    return msgspec.msgpack.decode(data, type=Settings, dec_hook=decode_scalar)


def _follow_data_dir(tree: dict[str, Any]) -> None:
    """A pepper that is not placed by itself goes with the data directory, wherever that was moved to."""
    keys = tree.get("keys")
    if isinstance(keys, str) and keys[:1] == "{":
        # As a variable gives a section. What cannot be read is told when it is read for its settings.
        with suppress(yaml.YAMLError):
            keys = parse(keys)
    if isinstance(tree.get("data_dir"), str) and (keys is None or isinstance(keys, dict)):
        tree["keys"] = {"pepper_file": f"{tree['data_dir'].rstrip('/')}/pepper", **(keys or {})}


def _new(found: Iterable[str], faulty: list[str]) -> Iterator[str]:
    """Those faults that are not about settings which were at fault already, and so had a default put in their place."""
    named = [re.compile(rf"(?<![\w.]){re.escape(path)}(?!\w)") for path in faulty]
    for fault in found:
        path = fault.partition(": ")[0]
        if not any(name.search(fault) for name in named) and not any(other.startswith((f"{path}.", f"{path}[")) for other in faulty):
            yield fault


def _section(section: type[Section], tree: Any, path: str, faults: list[str]) -> Any:
    """The section with defaults where something is at fault; _MISSING where it cannot be made."""
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        faults.append(f"{path}: must be a mapping")
        return _MISSING
    tree = dict(tree)
    values: dict[str, Any] = {}
    complete = True
    for info, hint, meta in fields(section):
        here = join(path, info.encode_name)
        raw = _secret_file(tree, info.encode_name, hint, here, faults)
        if raw is _MISSING and info.required:
            faults.append(f"{here}: is missing")
        value = _value(hint, meta, raw, here, faults) if raw is not _MISSING else _MISSING
        if value is not _MISSING:
            values[info.name] = value
        elif info.required:
            complete = False
    for name in tree:
        known = [info.encode_name for info, _, _ in fields(section)]
        faults.append(f"{join(path, name)}: unknown setting; known here: {', '.join(known)}{did_you_mean(str(name), known)}")
    return section(**values) if complete else _MISSING


def _secret_file(tree: dict[str, Any], name: str, hint: Any, here: str, faults: list[str]) -> Any:
    raw = tree.pop(name, _MISSING)
    file = tree.pop(f"{name}_file", _MISSING) if is_secret(hint) or is_secret_list(hint) else _MISSING
    if file is _MISSING:
        return raw
    if raw is not _MISSING:
        faults.append(f"{here}: give either {name} or {name}_file, not both")
        return raw
    if not file:
        faults.append(f"{here}_file: has no value; give the path of a file or remove it")
        return _MISSING
    try:
        text = text_of(Path(str(file))).strip()
        return [line.strip() for line in text.splitlines() if line.strip()] if is_secret_list(hint) else text
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        faults.append(f"{here}_file: {file} cannot be read by user {os.getuid()} ({reason})")
        return _MISSING


def _value(hint: Any, meta: msgspec.Meta | None, raw: Any, path: str, faults: list[str]) -> Any:
    """The value; _MISSING where it is at fault."""
    if raw is None and is_optional(hint):
        return None
    inner = subsection(hint)
    if isinstance(raw, str) and raw[:1] in ("[", "{") and (inner is not None or _is_list(hint)):
        try:
            raw = parse(raw)
        except yaml.YAMLError as error:
            faults.append(f"{path}: is not YAML ({problem(error)})")
            return _MISSING
    if inner is not None:
        return _section(inner, raw, path, faults)
    if raw is None:
        faults.append(f"{path}: has no value; give one or remove the line")
        return _MISSING
    item = item_section(hint)
    if item is not None and isinstance(raw, list):
        entries = [_section(item, entry, f"{path}[{index}]", faults) for index, entry in enumerate(raw)]
        return tuple(entry for entry in entries if entry is not _MISSING)
    return _leaf(hint, meta, raw, path, faults)


def _leaf(hint: Any, meta: msgspec.Meta | None, raw: Any, path: str, faults: list[str]) -> Any:
    if isinstance(raw, dict) and raw:
        # Under the path that each came from, so that a variable with a level too many is named.
        faults += [f"{below}: is not a setting: {path} is not a section" for below in _ends(raw, path)]
        return _MISSING
    target = Annotated[hint, meta] if meta is not None and _constrained(meta) else hint
    if isinstance(raw, str) and _is_list(hint):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    try:
        found = msgspec.convert(raw, target, strict=False, dec_hook=decode_scalar)
        return within_64_bits(found) if isinstance(found, int) else found
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        faults.append(f"{path}: {_sentence(str(error), hint)}")
        return _MISSING


def _ends(tree: Any, path: str) -> Iterator[str]:
    if not isinstance(tree, dict):
        yield path
        return
    for name, value in tree.items():
        yield from _ends(value, join(path, str(name)))


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is tuple


def _sentence(message: str, hint: Any) -> str:
    """What to write instead. A secret's own text must not reach it, and msgspec quotes no values but those of choices."""
    words = [word for kind in alternatives(hint) for word in choices(kind)]
    if words:
        others = [_KINDS["int"]] if int in alternatives(hint) else []
        return f"must be one of: {', '.join([*others, *words])}"
    match = _MESSAGE.match(message.partition(" - at")[0])
    if match is None:
        return message.partition(" - at")[0]
    return f"must be {_KINDS.get(match['kind'], match['kind'])}{match['rest']}"


def _constrained(meta: msgspec.Meta) -> bool:
    return any(getattr(meta, name) is not None for name in ("ge", "gt", "le", "lt", "pattern", "min_length", "max_length"))
