"""From what a client sent to typed values: all faults of a request in one error, each with its path.

msgspec stops at the first fault, which makes a form with three mistakes take three tries. So the
happy path is one conversion, and only a refused request is walked member by member.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from sidecar.control.admin.errors import INVALID_REQUEST, AdminError

_DIGITS = re.compile(r"-?[0-9]{1,18}")
_EAST = re.compile(r"([0-9-]{10}T[0-9:.]+) ([0-9]{2}:[0-9]{2})")
"""A time whose offset's `+` was not escaped."""

MOST_TOLD = 20
"""Faults of a request that are told. A body can have a hundred thousand, and each is searched for secrets while all others wait."""

T = TypeVar("T", bound=msgspec.Struct)


class _Members(list[tuple[str, Any]]):
    """The members of an object as they stand there."""


def decode_body(data: bytes, message: type[T]) -> T:
    """Read a JSON body; AdminError with every fault, `param` naming the first. A member that is there twice is one: the last would win."""
    data = data or b"{}"
    try:
        tree = msgspec.json.decode(data)
        # Digits are left alone: how many of them an int may have depends on the interpreter.
        repeats = list(dict.fromkeys(_repeats(json.loads(data, object_pairs_hook=_Members, parse_int=str, parse_float=str), "")))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise AdminError(INVALID_REQUEST, f"The body is not JSON ({error}).") from None
    if repeats:
        raise faulty([(path, "is given twice") for path in repeats])
    return _convert(tree, message)


def decode_query(pairs: Iterable[tuple[str, str]], message: type[T]) -> T:
    """Read query parameters; a repeated or unknown one is a fault, and one without a value is as good as left out (a form sends it)."""
    tree: dict[str, str] = {}
    for name, value in pairs:
        if name in tree:
            raise AdminError(INVALID_REQUEST, f"{name}: is given twice.", param=name)
        tree[name] = value
    hints = get_type_hints(message)
    fields = {info.encode_name: hints[info.name] for info in msgspec.structs.fields(message)}
    given = {name: _meant(value, fields.get(name)) for name, value in tree.items() if value or name not in fields}
    return _convert(given, message)


def _repeats(part: Any, path: str) -> Iterator[str]:
    """The paths of members that are there again."""
    if isinstance(part, _Members):
        seen: set[str] = set()
        for name, value in part:
            here = _join(path, name)
            if name in seen:
                yield here
            seen.add(name)
            yield from _repeats(value, here)
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from _repeats(value, f"{path}[{index}]")


def _meant(value: str, hint: Any) -> str | int:
    """What a parameter means: only where a number is wanted do digits make one, and a blank in a time is the `+` that forms write so."""
    kinds = (hint, *get_args(hint))
    if int in kinds and _DIGITS.fullmatch(value):
        return int(value)
    if datetime in kinds and (time := _EAST.fullmatch(value)):
        return f"{time[1]}+{time[2]}"
    return value


def _convert(tree: Any, message: type[T]) -> T:
    try:
        return msgspec.convert(tree, message)
    except msgspec.ValidationError as error:
        found = _faults(tree, message, "") or [("", str(error))]
    raise faulty(found)


def faulty(found: list[tuple[str, str]]) -> AdminError:
    """One error out of `(path, sentence)` pairs."""
    told, left = found[:MOST_TOLD], len(found) - MOST_TOLD
    text = "; ".join(
        [*(f"{path}: {sentence}" if path else sentence for path, sentence in told), *([f"and {left} more"] if left > 0 else [])]
    )
    return AdminError(INVALID_REQUEST, f"{text}.", param=found[0][0] or None, faults=tuple(told))


def _faults(tree: Any, message: type[msgspec.Struct], path: str) -> list[tuple[str, str]]:
    if not isinstance(tree, Mapping):
        return [(path, "must be an object")]
    hints = get_type_hints(message, include_extras=True)
    found: list[tuple[str, str]] = []
    known = {info.encode_name: info for info in msgspec.structs.fields(message)}
    unknown = f"unknown member; known here: {', '.join(known)}"
    found.extend((_join(path, name), unknown) for name in tree if name not in known)
    for name, info in known.items():
        here = _join(path, name)
        if name not in tree:
            if info.required:
                found.append((here, "is missing"))
            continue
        found.extend(_member_faults(tree[name], hints[info.name], here))
    return found


def _member_faults(value: Any, hint: Any, path: str) -> list[tuple[str, str]]:
    try:
        msgspec.convert(value, _without_unset(hint))
    except msgspec.ValidationError as error:
        inner = _struct_of(hint)
        if inner is not None and isinstance(value, Mapping):
            return _faults(value, inner, path)
        sentence, _, place = str(error).partition(" - at `$")
        return [(path + place.rstrip("`"), _plain(sentence, hint))]
    return []


def _without_unset(hint: Any) -> Any:
    """A hint of an optional member, as something that can be converted on its own."""
    arguments = [argument for argument in get_args(hint) if argument is not msgspec.UnsetType]
    if len(arguments) == len(get_args(hint)) or not arguments:
        return hint
    union = arguments[0]
    for argument in arguments[1:]:
        union = union | argument
    return union


def _struct_of(hint: Any) -> type[msgspec.Struct] | None:
    for candidate in (hint, *get_args(hint)):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate
    return None


def _plain(sentence: str, hint: Any) -> str:
    """msgspec's sentence; where it would show a regular expression, what that stands for."""
    if "matching regex" in sentence:
        return f"does not have the right form: {_description(hint)}"
    return sentence[:1].lower() + sentence[1:]


def _description(hint: Any) -> str:
    """What the innermost described part of `hint` says of itself."""
    inner = [found for argument in get_args(hint) if (found := _description(argument))]
    own = [extra.description for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, msgspec.Meta) and extra.description]
    return next(iter([*inner, *own]), "").rstrip(".")


def _join(path: str, name: object) -> str:
    text = str(name)[:64]
    return f"{path}.{text}" if path else text
