"""Every setting as a row: what the reference page, the example file and the schema are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import msgspec

from sidecar.settings.declaration import Section, Settings
from sidecar.settings.document import ENVIRONMENT_PREFIX, join
from sidecar.settings.sections import alternatives, choices, fields, is_secret, item_section, subsection
from sidecar.settings.values import Duration, HubUrl, Listen, Secret, Size, StoreUrl, WebhookUrl

_WORDS: dict[Any, str] = {
    bool: "true, false",
    int: "whole number",
    float: "number",
    str: "text",
    Duration: "duration",
    Size: "size",
    Listen: "address",
    HubUrl: "URL",
    StoreUrl: "URL",
    WebhookUrl: "URL",
    Secret: "secret",
}


@dataclass(frozen=True)
class Row:
    """One setting. `default` is None where there is none, because the setting belongs to an optional section or must be given."""

    path: str
    hint: Any
    meta: msgspec.Meta | None
    default: Any
    has_default: bool
    optional: bool
    """It belongs to a section that may be left out as a whole, or to an entry of a list."""

    @property
    def text(self) -> str:
        """The sentence of the declaration."""
        return (self.meta.description if self.meta else None) or ""

    @property
    def variable(self) -> str:
        """The environment variable that sets it; empty for an entry of a list."""
        if "[]" in self.path:
            return ""
        if self.path == "data_dir":
            return "SIDECAR_DATA_DIR"
        return ENVIRONMENT_PREFIX + ("" if "." in self.path else "_") + self.path.upper().replace(".", "__")

    @property
    def is_secret(self) -> bool:
        """Whether its value must never be printed, and may be given as `<name>_file`."""
        return is_secret(self.hint)

    @property
    def type(self) -> str:
        """Its kind in words, with its bounds."""
        return kind(self.hint) + bounds(self.meta)


@dataclass(frozen=True)
class Group:
    """A section: its dotted path (empty for the top), its text, and its own settings."""

    path: str
    text: str
    rows: tuple[Row, ...]
    optional: bool


def groups(section: type[Section] = Settings, path: str = "", defaults: Any = None, optional: bool = False) -> Iterator[Group]:
    """`section` and every section below it, in the order of the declaration; what stands at the top comes last."""
    rows: list[Row] = []
    below: list[Group] = []
    for info, hint, meta in fields(section):
        here = join(path, info.encode_name)
        has_default = not info.required
        default = getattr(defaults, info.name, None) if defaults is not None else info.default if has_default else None
        inner, item = subsection(hint), item_section(hint)
        if inner is not None:
            below += groups(inner, here, default, optional or default is None)
        else:
            rows.append(Row(here, hint, meta, default, has_default, optional))
            below += groups(item, f"{here}[]", None, True) if item is not None else ()
    own = Group(path, inspect.getdoc(section) or "", tuple(rows), optional)
    yield from [*below, own] if not path else [own, *below]


def kind(hint: Any) -> str:
    """A type in the reader's words."""
    if get_origin(hint) is tuple:
        return f"list of {kind(get_args(hint)[0])}"
    words = [word for one in alternatives(hint) for word in choices(one) or [_WORDS.get(one, "section")] if one is not type(None)]
    return ", ".join(words)


def bounds(meta: msgspec.Meta | None) -> str:
    """The bounds of a number, as ` ≥ 1`."""
    if meta is None:
        return ""
    signs = (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt))
    return "".join(f" {sign} {limit:g}" for sign, limit in signs if limit is not None)


def written(value: Any) -> str:
    """A default as one would write it in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(written(item) for item in value)}]"
    if isinstance(value, StoreUrl):
        return value.reveal()
    if value is None:
        return "null"
    return str(value)
