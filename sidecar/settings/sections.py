"""Reading a declaration: which fields a section has, of which kind, with which text and bounds."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import FieldInfo

from sidecar.settings.declaration import Section
from sidecar.settings.values import Secret


def fields(section: type[Section]) -> Iterator[tuple[FieldInfo, Any, msgspec.Meta | None]]:
    """Each field of `section` with its bare type and its Meta."""
    hints = get_type_hints(section, include_extras=True)
    for info in msgspec.structs.fields(section):
        hint = hints[info.name]
        meta = None
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            meta = next((extra for extra in extras if isinstance(extra, msgspec.Meta)), None)
        yield info, hint, meta


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that `hint` is a union of, or itself alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def subsection(hint: Any) -> type[Section] | None:
    """The Section class that `hint` (possibly `X | None`) names, if it names one."""
    return next((kind for kind in alternatives(hint) if isinstance(kind, type) and issubclass(kind, Section)), None)


def item_section(hint: Any) -> type[Section] | None:
    """The Section class that `hint` is a list of, if it is one."""
    return subsection(get_args(hint)[0]) if get_origin(hint) is tuple else None


def is_secret(hint: Any) -> bool:
    """Whether values of `hint` must never be printed."""
    return isinstance(hint, type) and issubclass(hint, Secret)


def is_secret_list(hint: Any) -> bool:
    """Whether `hint` is a list of such values."""
    return get_origin(hint) is tuple and is_secret(get_args(hint)[0])


def is_optional(hint: Any) -> bool:
    """Whether `hint` allows null."""
    return type(None) in alternatives(hint)


def choices(hint: Any) -> list[str]:
    """The words that `hint` allows; empty when it is not a choice of words alone."""
    return [str(word) for word in get_args(hint)] if get_origin(hint) is Literal else []
