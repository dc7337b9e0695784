"""What a key's `allowed_routes` means. Pure.

An entry is the name of a route, the name of a group, a path, or a method and a path: `chat`,
`/api/v2/chat`, `POST /api/v2/*`, `/api/usage/**` (`*` is one whole segment, a last `/**` is
everything below). Paths are compared as the client sends them, and with every escape decoded too: both ways
one must be covered, for some hubs decode it. None means any route, except those that a profile calls opt_in:
they need an entry that names them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sidecar.hubs.check import METHODS, path_fault
from sidecar.hubs.profile import Route
from sidecar.hubs.routing import compile_path, decode, normalize

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_ENTRY = re.compile(r"(?:([A-Z]+|\*) )?(/.*)", re.DOTALL)


def allows(patterns: tuple[str, ...] | None, method: str, path: str, route: Route) -> bool:
    """Whether a key with these `allowed_routes` may call `route` by `method` on the raw `path`."""
    if patterns is None:
        return not route.opt_in
    return any(_covers(pattern, method, path, route) for pattern in patterns)


def check_pattern(text: str) -> str | None:
    """What is wrong with an entry of `allowed_routes`, as a sentence; None when it is good."""
    if _NAME.fullmatch(text):
        return None
    entry = _ENTRY.fullmatch(text)
    if entry is None:
        return f"{text!r} is not a route; write a route or group name, /a/path, or METHOD /a/path"
    if entry[1] is not None and entry[1] not in METHODS:
        return f"{entry[1]!r} is not a method; write one of {', '.join(sorted(METHODS))}"
    return path_fault(entry[2])


def _covers(pattern: str, method: str, path: str, route: Route) -> bool:
    if pattern in (route.name, route.group):
        return bool(pattern)
    entry = _compile(pattern)
    if entry is None:
        return False
    wanted, compiled, of_decoded = entry
    if wanted not in ("", "*", method) and not (wanted == "GET" and method == "HEAD"):
        return False
    compared = normalize(path)
    return compiled.fullmatch(compared) is not None and of_decoded.fullmatch(decode(compared)) is not None


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> tuple[str, re.Pattern[str], re.Pattern[str]] | None:
    entry = _ENTRY.fullmatch(pattern)
    if entry is None:
        return None
    path = normalize(entry[2])
    return entry[1] or "", compile_path(path), compile_path(path, of_decoded=True)
