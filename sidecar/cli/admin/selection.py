"""From the KEY that a person typed, an id or a name, to the one key that is meant."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from sidecar.cli.admin.api import AdminApi
from sidecar.cli.admin.text import printable
from sidecar.cli.errors import WRONG_USE, CommandError
from sidecar.keys.token import is_well_formed
from sidecar.redaction import without_secrets

_ID = re.compile(r"key_[0-9A-Za-z]{16}")
_LISTED = 5

KEY_HELP = "id or name of the key"


def key_path(key_id: str, *more: str) -> str:
    """The API path of a key, or of something below it."""
    return "/".join(["/keys", quote(key_id, safe=""), *more])


def refuse_secret(text: str) -> None:
    """Raise CommandError when this is a key itself: it would travel in the address of a call, which proxies write down."""
    if is_well_formed(text.encode(errors="replace"), text.partition("_")[0]):
        advice = "`sidecar keys identify` reads it from standard input and says whose it is"
        raise CommandError(f"this is a key itself, where its id or name belongs; nothing was sent. {advice}.", WRONG_USE)


def find_key(api: AdminApi, wanted: str) -> dict[str, Any]:
    """The key with this id or exactly this name.

    Revoked keys step back when one of the same name lives. CommandError when none or several fit.
    """
    if not wanted.strip():
        raise CommandError("KEY is empty; give the id or the name of a key.", WRONG_USE)
    refuse_secret(wanted)
    if _ID.fullmatch(wanted):
        key: dict[str, Any] = api.get(key_path(wanted))["key"]
        return key
    named = [key for key in api.items("/keys", q=wanted) if key["name"] == wanted]
    fitting = [key for key in named if key["status"] != "revoked"] or named
    if not fitting:
        raise CommandError(f"there is no key named {without_secrets(printable(wanted))!r}; `sidecar keys list` shows all keys.")
    if len(fitting) > 1:
        ids = ", ".join(key["id"] for key in fitting[:_LISTED]) + (", …" if len(fitting) > _LISTED else "")
        raise CommandError(f"{len(fitting)} keys are named {printable(wanted)!r}; give the id of one: {ids}.")
    return fitting[0]
