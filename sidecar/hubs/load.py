"""Reads a hub profile, built-in or an operator's file; every fault is reported at once with its dotted path."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import yaml

from sidecar.hubs.check import faults_of
from sidecar.hubs.profile import Part, Profile
from sidecar.settings.document import parse, problem
from sidecar.settings.load import SettingsError

_PROFILES = resources.files("sidecar.hubs").joinpath("profiles")

BUILT_IN = tuple(sorted(file.name.removesuffix(".yaml") for file in _PROFILES.iterdir() if file.name.endswith(".yaml")))
"""Profiles that come with the sidecar: every `sidecar/hubs/profiles/<name>.yaml`."""


class ProfileError(SettingsError):
    """A profile cannot be used; `faults` has one `path: sentence` for each fault."""


def load_profile(name_or_path: str) -> Profile:
    """The built-in profile of that name, or else the profile in that file.

    Raises ProfileError with every fault found.
    """
    if name_or_path in BUILT_IN:
        text = _PROFILES.joinpath(f"{name_or_path}.yaml").read_text(encoding="utf-8")
        return parse_profile(text, f"{name_or_path}.yaml")
    path, advice = Path(name_or_path), f"name a file or one of {', '.join(BUILT_IN)}"
    try:
        return parse_profile(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise ProfileError([f"hub.profile: {name_or_path} cannot be read ({error.strerror}); {advice}"]) from error
    except UnicodeDecodeError as error:
        raise ProfileError([f"hub.profile: {name_or_path} is not UTF-8 text"]) from error
    except ValueError as error:
        raise ProfileError([f"hub.profile: {name_or_path!r} cannot be the name of a file; {advice}"]) from error


def parse_profile(text: str, source: str) -> Profile:
    """The profile that the YAML `text` holds; `source` names it in messages. Raises ProfileError."""
    try:
        tree = parse(text)
    except yaml.YAMLError as error:
        raise ProfileError([f"{source}: is not YAML ({problem(error)})"]) from error
    faults: list[str] = []
    profile = _part(Profile, tree, "", faults)
    if isinstance(profile, Profile):
        faults.extend(faults_of(profile))
    if faults:
        raise ProfileError([f"{source}: {fault}" for fault in faults])
    assert isinstance(profile, Profile)
    return profile


def _part(part: type[Part], tree: Any, path: str, faults: list[str]) -> Part | None:
    """`tree` as a `part`, or None with the reasons added to `faults`."""
    if not isinstance(tree, dict):
        faults.append(f"{path or 'profile'}: must be a mapping")
        return None
    before = len(faults)
    values: dict[str, Any] = {}
    hints, members = _members(part)
    for info in members:
        here = f"{path}.{info.name}" if path else info.name
        if info.name in tree:
            values[info.name] = _value(hints[info.name], tree[info.name], here, faults)
        elif info.required:
            faults.append(f"{here}: is missing")
    for name in tree:
        if name not in hints:
            faults.append(f"{path}.{name}".lstrip(".") + f": unknown here; known are {', '.join(hints)}")
    return part(**values) if len(faults) == before else None


@cache
def _members(part: type[Part]) -> tuple[dict[str, Any], tuple[msgspec.structs.FieldInfo, ...]]:
    # Most of what reading a profile costs, and it has thirty routes.
    return get_type_hints(part, include_extras=True), msgspec.structs.fields(part)


def _value(hint: Any, raw: Any, path: str, faults: list[str]) -> Any:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if isinstance(bare, type) and issubclass(bare, Part):
        return _part(bare, raw, path, faults)
    if (item := _item_part(bare)) is not None and isinstance(raw, list):
        if not raw:
            faults.append(f"{path}: needs at least one entry")
        return tuple(_part(item, entry, f"{path}[{index}]", faults) for index, entry in enumerate(raw))
    try:
        return msgspec.convert(raw, hint)
    except msgspec.ValidationError as error:
        faults.append(f"{path}: {str(error).partition(' - at')[0]}{_choices(bare)}")
        return None


def _item_part(bare: Any) -> type[Part] | None:
    arguments = get_args(bare) if get_origin(bare) is tuple else ()
    return arguments[0] if arguments and isinstance(arguments[0], type) and issubclass(arguments[0], Part) else None


def _choices(bare: Any) -> str:
    return f"; choose one of {', '.join(map(repr, get_args(bare)))}" if get_origin(bare) is Literal else ""
