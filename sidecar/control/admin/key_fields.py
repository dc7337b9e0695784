"""From messages to a key: checks that a schema cannot express, one normal form for each member. Pure.

Every fault of a message is reported together, like those that the schema finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, UnsetType

from sidecar.control.admin.decoding import faulty
from sidecar.control.admin.messages import keys as messages
from sidecar.control.admin.messages.common import PRINTABLE
from sidecar.control.admin.times import to_seconds
from sidecar.hubs.allowed_routes import check_pattern
from sidecar.keys import record
from sidecar.settings.declaration import Enforcement
from sidecar.settings.values import read_network

# `$` also matches in front of a final line feed, so the pattern of the schema is applied to the whole text here.
_PRINTABLE = re.compile(PRINTABLE)

Faults = list[tuple[str, str]]


def new_members(message: messages.NewKey) -> dict[str, Any]:
    """The members of `record.Key` that a new key is given; AdminError with every fault."""
    faults: Faults = []
    members: dict[str, Any] = {
        "name": _name(message.name, faults),
        "owner": _text("owner", message.owner, faults),
        "expires_at": None if message.expires_at is None else to_seconds(message.expires_at),
        "disabled": message.disabled,
        "allowed_routes": _routes(message.allowed_routes, faults),
        "allowed_models": _texts("allowed_models", message.allowed_models, faults),
        "allowed_ips": _networks(message.allowed_ips, faults),
        "limits": _limits(message.limits),
        "quota": _quota(message.quota, faults),
        "enforcement": message.enforcement,
        "on_anomaly": message.on_anomaly,
        "metadata": _metadata(message.metadata, faults),
        "tags": _texts("tags", message.tags, faults) or (),
    }
    if faults:
        raise faulty(faults)
    return members


def changed_members(message: messages.KeyChange, limits: record.Limits) -> dict[str, Any]:
    """The members of `record.Key` that a change sets; `limits` are the key's present ones. AdminError with every fault."""
    faults: Faults = []
    readers: dict[str, Callable[[Any], Any]] = {
        "name": lambda value: _name(value, faults),
        "owner": lambda value: _text("owner", value or "", faults),
        "expires_at": lambda value: None if value is None else to_seconds(value),
        "allowed_routes": lambda value: _routes(value, faults),
        "allowed_models": lambda value: _texts("allowed_models", value, faults),
        "allowed_ips": lambda value: _networks(value, faults),
        "limits": lambda value: _changed_limits(value, limits),
        "quota": lambda value: _quota(value, faults),
        "metadata": lambda value: _metadata(value, faults),
        "tags": lambda value: _texts("tags", value, faults) or (),
    }
    given = {name: value for name, value in msgspec.structs.asdict(message).items() if value is not UNSET and name != "revision"}
    members = {name: readers[name](value) if name in readers else value for name, value in given.items()}
    if faults:
        raise faulty(faults)
    return members


def check_name(name: str) -> str:
    """`name`; AdminError when it is blank or not printable."""
    faults: Faults = []
    _name(name, faults)
    if faults:
        raise faulty(faults)
    return name


def _text(path: str, value: str, faults: Faults) -> str:
    if not _PRINTABLE.fullmatch(value):
        faults.append((path, "must have printable characters only"))
    return value


def _name(value: str, faults: Faults) -> str:
    # Nobody could see, click or type a name of nothing but blanks and joiners.
    if not any(character.isprintable() and not character.isspace() for character in value):
        faults.append(("name", "must not be blank"))
    return _text("name", value, faults)


def _texts(path: str, values: Iterable[str] | None, faults: Faults) -> tuple[str, ...] | None:
    if values is None:
        return None
    return tuple(dict.fromkeys(_text(f"{path}[{index}]", value, faults) for index, value in enumerate(values)))


def _metadata(values: dict[str, str] | None, faults: Faults) -> dict[str, str]:
    return {_text("metadata", name, faults): value for name, value in (values or {}).items()}


def _routes(patterns: Iterable[str] | None, faults: Faults) -> tuple[str, ...] | None:
    if patterns is None:
        return None
    kept = []
    for index, pattern in enumerate(patterns):
        fault = check_pattern(pattern)
        if fault is not None:
            faults.append((f"allowed_routes[{index}]", fault))
        kept.append(pattern)
    return tuple(dict.fromkeys(kept))


def _networks(texts: Iterable[str] | None, faults: Faults) -> tuple[str, ...] | None:
    if texts is None:
        return None
    kept = []
    for index, text in enumerate(texts):
        try:
            kept.append(normal_network(text))
        except ValueError:
            faults.append((f"allowed_ips[{index}]", "is not an address or network; write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"))
    return tuple(dict.fromkeys(kept))


def normal_network(text: str) -> str:
    """The usual spelling of an address or network: host bits cleared, IPv4 never dressed as IPv6. Raises ValueError."""
    if "%" in text:
        raise ValueError("a zone is local to one machine")
    network = read_network(text.strip())
    return str(network) if "/" in text else str(network.network_address)


def _limits(message: messages.Limits | None) -> record.Limits:
    if message is None:
        return record.Limits()
    return record.Limits(message.rpm, message.tpm, message.max_concurrency, _modes(message.enforcement))


def _modes(modes: messages.LimitModes | UnsetType | None) -> dict[str, Enforcement] | None:
    if not isinstance(modes, messages.LimitModes):
        return None
    return {name: mode for name, mode in msgspec.structs.asdict(modes).items() if mode is not UNSET} or None


def _changed_limits(message: messages.LimitsChange | None, limits: record.Limits) -> record.Limits:
    if message is None:
        return record.Limits()
    given = {name: value for name, value in msgspec.structs.asdict(message).items() if value is not UNSET}
    if "enforcement" in given:
        given["enforcement"] = _changed_modes(message.enforcement, limits.enforcement or {})
    return msgspec.structs.replace(limits, **given)


def _changed_modes(message: messages.LimitModesChange | UnsetType | None, modes: dict[str, Enforcement]) -> dict[str, Enforcement] | None:
    if not isinstance(message, messages.LimitModesChange):
        return None
    given = {name: mode for name, mode in msgspec.structs.asdict(message).items() if mode is not UNSET}
    return {name: mode for name, mode in (modes | given).items() if mode is not None} or None


def _quota(message: messages.Quota | None, faults: Faults) -> record.Quota | None:
    if message is None:
        return None
    if message.requests is message.tokens is None:
        faults.append(("quota", "must name requests, tokens or both; null is no quota"))
    try:
        ZoneInfo(message.timezone)
    except (ValueError, OSError, KeyError):
        faults.append(("quota.timezone", "is not an IANA time zone, such as Europe/Berlin or UTC"))
    return record.Quota(message.requests, message.tokens, message.period, message.timezone)
