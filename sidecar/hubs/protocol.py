"""What an application says to a hub: told from the paths of its profile, so a copy of a profile speaks like the original."""

from __future__ import annotations

from typing import Literal

from sidecar.hubs.load import ProfileError, load_profile
from sidecar.hubs.profile import Profile

Protocol = Literal["aigne", "openai", ""]
"""Empty: none that is known here."""

_SIGNS: tuple[tuple[str, Protocol], ...] = (("/api/v2/chat", "aigne"), ("/v1/chat/completions", "openai"))
"""A path that only hubs of the protocol have.

A hub that speaks it elsewhere counts as unknown: the console's example is then a bare call, and doctor asks only
whether the hub answers.
"""


def protocol_of(profile: Profile) -> Protocol:
    """The protocol of the first sign that `profile` forwards under exactly this path, for any key."""
    paths = {path for route in profile.routes if "POST" in route.methods and not route.opt_in for path in route.paths}
    return next((protocol for path, protocol in _SIGNS if path in paths), "")


def protocol_named(name_or_path: str) -> Protocol:
    """The protocol of a profile by the value of `hub.profile`; empty when it cannot be read, for this only chooses an example."""
    try:
        return protocol_of(load_profile(name_or_path))
    except ProfileError:
        return ""
