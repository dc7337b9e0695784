"""The configuration in force, as it may be shown: secrets are masked."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import yaml

from sidecar.settings.declaration import Section, Settings
from sidecar.settings.values import Duration, Secret, Size, StoreUrl, WebhookUrl

MASK = "********"
_PARAMETER = re.compile(r"(?<=[?&])([^=&]*)=[^&]*")


def tree(settings: Settings) -> dict[str, Any]:
    """Every setting with its effective value, as plain data."""
    return {name: _plain(value) for name, value in msgspec.structs.asdict(settings).items()}


def as_yaml(settings: Settings) -> str:
    """The same as YAML."""
    return yaml.safe_dump(tree(settings), sort_keys=False, allow_unicode=True, width=120)


def as_yaml_scalar(value: Any) -> str:
    """One value as YAML writes it."""
    return yaml.safe_dump(_plain(value), allow_unicode=True, width=1000).removesuffix("\n").removesuffix("\n...")


def without_password(url: StoreUrl) -> str:
    """The store's address, with every password in it masked."""
    text = _PARAMETER.sub(lambda pair: f"{pair[1]}={MASK}" if unquote(pair[1]).endswith("password") else pair[0], url.reveal())
    credentials, at, _ = urlsplit(text).netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return text.replace(f"{credentials}@", f"{user}{colon}{MASK}@", 1) if at and colon else text


def without_path(url: WebhookUrl) -> str:
    """Who receives notifications, and nothing that would let somebody post there."""
    parts = urlsplit(url.reveal())
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{MASK}"


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return {name: _plain(inner) for name, inner in msgspec.structs.asdict(value).items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, StoreUrl):
        return without_password(value)
    if isinstance(value, WebhookUrl):
        return without_path(value)
    if isinstance(value, Secret):
        return MASK if value else ""
    if isinstance(value, Duration | Size):
        return str(value)
    return str.__str__(value) if isinstance(value, str) else value
