"""Which route of a profile a request belongs to, and which path the hub is asked for. Pure, compiled once.

What is compared is the path with the percent-escapes of unreserved characters decoded (RFC 3986 6.2.2.2:
`/api/%76%32/chat` is `/api/v2/chat`); what is forwarded is the path as sent, or the route's rewrite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from sidecar.hubs.profile import Profile, Route
from sidecar.refusals import METHOD_NOT_ALLOWED, UNKNOWN_ROUTE, Refused

_UNRESERVED_ESCAPE = re.compile(r"%(2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
_HIDDEN_SLASH = re.compile(r"%(?:25)*2[fF]")
_NESTED_ESCAPES = 3
"""Rounds of decoding in which a hidden dot segment is looked for: some hubs decode more than once."""


@dataclass(frozen=True, slots=True)
class Matched:
    """A request's route, and the path to ask the hub for (its mount prefix goes before it)."""

    route: Route
    hub_path: str


class Router:
    """The routes of one profile. An exact path outranks a pattern; of patterns the first in the file wins."""

    def __init__(self, profile: Profile) -> None:
        self._exact: dict[str, dict[str, Matched]] = {}
        self._patterns: list[tuple[re.Pattern[str], re.Pattern[str], Route, str]] = []
        for route in profile.routes:
            for path in route.paths:
                if "*" in path:
                    compared = normalize(path)
                    self._patterns.append((compile_path(compared), compile_path(show_slashes(compared)), route, path))
                else:
                    methods = self._exact.setdefault(normalize(path), {})
                    for method in _methods(route):
                        methods.setdefault(method, Matched(route, route.rewrite or path))

    def match(self, method: str, path: str) -> Matched:
        """The route for `method` and the raw `path` (no query).

        Raises Refused(UNKNOWN_ROUTE), or Refused(METHOD_NOT_ALLOWED) with an Allow header.
        """
        methods = self._exact.get(path)
        if methods is not None and (matched := methods.get(method)) is not None:
            return matched
        return self._match_slowly(method, path)

    def _match_slowly(self, method: str, path: str) -> Matched:
        compared = normalize(path)
        shown = show_slashes(compared)
        allowed: set[str] = set()
        if (methods := self._exact.get(compared)) is not None:
            matched = methods.get(method) or methods.get("*")
            if matched is not None:
                return matched if matched.route.rewrite else Matched(matched.route, path)
            allowed.update(methods)
        elif not has_one_meaning(path) or (shown != compared and not {method, "*"}.isdisjoint(self._exact.get(shown, ()))):
            raise Refused(UNKNOWN_ROUTE)
        for pattern, of_shown, route, pattern_path in self._patterns:
            is_here = pattern.fullmatch(compared) is not None
            is_here_shown = is_here if shown == compared else of_shown.fullmatch(shown) is not None
            if not is_here and not is_here_shown:
                continue
            methods_of = _methods(route)
            if method in methods_of or "*" in methods_of:
                if is_here is not is_here_shown:
                    # To hubs that decode before they look for routes it belongs to another one than to those that do not.
                    raise Refused(UNKNOWN_ROUTE)
                return Matched(route, _rewritten(route, pattern_path, path, compared))
            if is_here:
                allowed.update(methods_of)
        if allowed:
            raise Refused(METHOD_NOT_ALLOWED, headers=(("allow", ", ".join(sorted({*allowed, "OPTIONS"}))),))
        raise Refused(UNKNOWN_ROUTE)


def normalize(path: str) -> str:
    """`path` as it is compared: escapes of unreserved characters decoded, all else untouched."""
    if "%" not in path:
        return path
    return _UNRESERVED_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), path)


def show_slashes(compared: str) -> str:
    """A normalized path as hubs see it that decode it first, as ASGI and WSGI servers do: an encoded slash is one to them."""
    return _HIDDEN_SLASH.sub("/", compared) if "%" in compared else compared


def has_one_meaning(path: str) -> bool:
    """Whether every hub reads `path` alike: no empty or dot segments, also encoded (more than once) or with parameters."""
    for _ in range(_NESTED_ESCAPES):
        segments = path.replace("\\", "/").split("/")[1:]
        if "" in segments[:-1] or any(segment.partition(";")[0] in (".", "..") for segment in segments) or "\0" in path:
            return False
        if "%" not in path:
            return True
        path = unquote(path, errors="replace")
    return "%" not in path


def compile_path(path: str) -> re.Pattern[str]:
    """`path` with `*` (one segment) and a last `/**` (everything below) as a pattern for normalized paths."""
    below = path.endswith("/**")
    stem = path.removesuffix("/**") if below else path
    pattern = "/".join("[^/]+" if segment == "*" else re.escape(segment) for segment in stem.split("/"))
    return re.compile(pattern + ("/.*" if below else ""), re.DOTALL)


def _methods(route: Route) -> tuple[str, ...]:
    return (*route.methods, "HEAD") if "GET" in route.methods else route.methods


def _rewritten(route: Route, pattern_path: str, path: str, compared: str) -> str:
    if not route.rewrite:
        return path
    # What a /** stood for is carried over from the normalized path: the raw one may spell the prefix at another length.
    depth = pattern_path.removesuffix("/**").count("/")
    rest = compared.split("/", depth + 1)[depth + 1]
    return route.rewrite.removesuffix("**") + rest if route.rewrite.endswith("/**") else route.rewrite
