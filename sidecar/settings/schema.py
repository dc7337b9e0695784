"""JSON Schema of the configuration file, for editors and for checks before a deployment."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin

import msgspec

from sidecar.settings.declaration import Section, Settings
from sidecar.settings.sections import alternatives, choices, fields, is_optional, is_secret, is_secret_list, item_section, subsection
from sidecar.settings.show import tree
from sidecar.settings.values import Duration, HubUrl, Listen, Size, StoreUrl, WebhookUrl

_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_KINDS: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    Duration: {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"},
    Size: {"type": ["string", "integer"], "pattern": r"^\d+(B|KiB|MiB|GiB)?$"},
    Listen: {"type": "string", "pattern": r"^(unix:///.+|.+:\d+)$"},
    HubUrl: {"type": "string", "pattern": r"^(https?|unix)://"},
    WebhookUrl: {"type": "string", "pattern": r"^https?://"},
    StoreUrl: {"type": "string", "pattern": r"^(embedded$|(rediss?|unix|redis\+sentinel|redis\+cluster)://)"},
}


def schema() -> dict[str, Any]:
    """The schema (draft 2020-12). A value may be `${NAME}` wherever text is not its type anyway."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sidecar configuration",
        **_section(Settings, tree(Settings())),
    }


def _section(section: type[Section], defaults: dict[str, Any] | None) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for info, hint, meta in fields(section):
        name = info.encode_name
        default = (defaults or {}).get(name)
        properties[name] = _property(hint, meta, default)
        if is_secret(hint) or is_secret_list(hint):
            each = ", one in each line" if is_secret_list(hint) else ""
            properties[f"{name}_file"] = {"type": "string", "description": f"The path of a file that holds {name}{each}."}
        if info.required:
            required.append(name)
    found: dict[str, Any] = {
        "type": "object",
        "description": inspect.getdoc(section),
        "properties": properties,
        "additionalProperties": False,
    }
    return found | ({"required": required} if required else {})


def _property(hint: Any, meta: msgspec.Meta | None, default: Any) -> dict[str, Any]:
    inner = subsection(hint)
    if inner is not None:
        found = _section(inner, default)
        return found | {"type": ["object", "null"]} if is_optional(hint) else found
    found = _kind(hint)
    if meta is not None:
        limits = {"minimum": meta.ge, "maximum": meta.le, "exclusiveMinimum": meta.gt, "exclusiveMaximum": meta.lt, "pattern": meta.pattern}
        found |= {name: limit for name, limit in limits.items() if limit is not None}
    if found.get("type") != "string" or "pattern" in found or "enum" in found:
        found = {"anyOf": [found, _REFERENCE]}
    text = {"description": meta.description} if meta is not None and meta.description else {}
    return {**text, **found, **({"default": default} if default is not None and not is_secret(hint) else {})}


def _kind(hint: Any) -> dict[str, Any]:
    item = item_section(hint)
    if item is not None:
        return {"type": "array", "items": _section(item, None)}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _kind(get_args(hint)[0])}
    found = [{"enum": choices(kind)} if choices(kind) else dict(_KINDS.get(kind, {"type": "string"})) for kind in alternatives(hint)]
    return found[0] if len(found) == 1 else {"anyOf": found}
