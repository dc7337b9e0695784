"""Which route of a profile a request belongs to, and which path the hub is asked for. Pure, compiled once.

What is compared is the path with the percent-escapes of unreserved characters decoded (RFC 3986 6.2.2.2:
`/api/%76%32/chat` is `/api/v2/chat`) and all others in capitals, and beside it the path with every escape decoded, as many
hubs read it; what is forwarded is the path as sent, or the route's rewrite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from sidecar.hubs.profile import Profile, Route
from sidecar.refusals import METHOD_NOT_ALLOWED, UNKNOWN_ROUTE, Refused

_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_PARAMETERS = re.compile(r";[^/]*")
_SLASHES = re.compile(r"/+")
_NESTED_ESCAPES = 3
"""Rounds of decoding in which a path's other meanings are looked for: some hubs decode more than once."""


@dataclass(frozen=True, slots=True)
class Matched:
    """A request's route, and the path to ask the hub for (its mount prefix goes before it)."""

    route: Route
    hub_path: str


class Router:
    """The routes of one profile. An exact path outranks a pattern; of patterns the first in the file wins."""

    def __init__(self, profile: Profile) -> None:
        self._exact: dict[str, dict[str, Matched]] = {}
        self._exact_decoded: dict[str, set[str]] = {}
        """Methods of the exact paths, by how these read when every escape is decoded."""
        self._exact_leniently: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], re.Pattern[str], Route, str]] = []
        self._patterns_leniently: list[tuple[re.Pattern[str], Route]] = []
        for route in profile.routes:
            for path in route.paths:
                compared = normalize(path)
                if "*" in path:
                    self._patterns.append((compile_path(compared), compile_path(compared, of_decoded=True), route, path))
                    self._patterns_leniently.append((_compile_leniently(compared), route))
                else:
                    methods = self._exact.setdefault(compared, {})
                    for method in _methods(route):
                        # For who asks for exactly this path: it goes on as sent, however the profile escapes it.
                        methods.setdefault(method, Matched(route, route.rewrite or compared))
                    self._exact_decoded.setdefault(decode(compared), set()).update(methods)
                    leniently = self._exact_leniently.setdefault(_leniently(decode(compared)).removesuffix("/"), {})
                    for method in _methods(route):
                        leniently.setdefault(method, route)

    def match(self, method: str, path: str) -> Matched:
        """The route for `method` and the raw `path` (no query).

        Raises Refused(UNKNOWN_ROUTE), or Refused(METHOD_NOT_ALLOWED) with an Allow header.
        """
        methods = self._exact.get(path)
        if methods is not None and (matched := methods.get(method)) is not None:
            return matched
        return self._match_slowly(method, path)

    def look_up(self, method: str, path: str) -> tuple[Matched | None, Refused | None]:
        """As `match`, for whoever must not tell yet that there is no such route: without a key, every path answers alike."""
        try:
            return self.match(method, path), None
        except Refused as refused:
            return None, refused

    def _match_slowly(self, method: str, path: str) -> Matched:
        compared = normalize(path)
        decoded = decode(compared)
        allowed: set[str] = set()
        if (methods := self._exact.get(compared)) is not None:
            matched = methods.get(method) or methods.get("*")
            if matched is not None:
                return matched if matched.route.rewrite else Matched(matched.route, path)
            allowed.update(methods)
        elif not has_one_meaning(path) or not {method, "*"}.isdisjoint(self._exact_decoded.get(decoded, ())):
            raise Refused(UNKNOWN_ROUTE)
        for pattern, of_decoded, route, pattern_path in self._patterns:
            is_here = pattern.fullmatch(compared) is not None
            is_here_decoded = of_decoded.fullmatch(decoded) is not None
            if not is_here and not is_here_decoded:
                continue
            methods_of = _methods(route)
            if method in methods_of or "*" in methods_of:
                if is_here is not is_here_decoded or self._look_up_leniently(method, decoded) is not route:
                    # To hubs that decode before they look for routes, or are lenient, it belongs to another one than to those that
                    # do not, or are not.
                    raise Refused(UNKNOWN_ROUTE)
                return Matched(route, _rewritten(route, pattern_path, path, compared))
            if is_here:
                allowed.update(methods_of)
        if allowed:
            raise Refused(METHOD_NOT_ALLOWED, headers=(("allow", ", ".join(sorted({*allowed, "OPTIONS"}))),))
        raise Refused(UNKNOWN_ROUTE)

    def _look_up_leniently(self, method: str, decoded: str) -> Route | None:
        """The route as of hubs to which capitals and a slash at the end make no difference, as with Express, and parameters of a
        segment neither, as with Java's servers."""
        text = _leniently(decoded)
        methods = self._exact_leniently.get(text.removesuffix("/"))
        route = methods.get(method) or methods.get("*") if methods is not None else None
        if route is not None:
            return route
        wanted = {method, "*"}
        return next(
            (route for pattern, route in self._patterns_leniently if not wanted.isdisjoint(_methods(route)) and pattern.fullmatch(text)),
            None,
        )


def normalize(path: str) -> str:
    """`path` as it is compared: escapes of unreserved characters decoded, the others in capitals, all else untouched."""
    return _ESCAPE.sub(_normal, path) if "%" in path else path


def decode(path: str) -> str:
    """`path` as hubs see it that decode it first, as ASGI and WSGI servers do: an encoded slash or colon is one to them.

    Bytes beyond ASCII come out as the characters of latin-1, so that no two are taken for the same.
    """
    for _ in range(_NESTED_ESCAPES):
        if "%" not in path:
            break
        path = unquote(path, "latin-1")
    return path


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


def compile_path(path: str, *, of_decoded: bool = False) -> re.Pattern[str]:
    """`path` with `*` (one segment) and a last `/**` (everything below) as a pattern for normalized paths, or for decoded ones."""
    below = path.endswith("/**")
    stem = path.removesuffix("/**") if below else path
    # Each segment by itself: one that is `*` only when it is decoded is no pattern.
    segments = stem.split("/")
    pattern = "/".join("[^/]+" if segment == "*" else re.escape(decode(segment) if of_decoded else segment) for segment in segments)
    return re.compile(pattern + ("/.*" if below else ""), re.DOTALL)


def _leniently(decoded: str) -> str:
    """The same text for paths that are one to a lenient hub, but for a slash at the end."""
    if ";" in decoded:
        decoded = _SLASHES.sub("/", _PARAMETERS.sub("", decoded))
    return decoded.lower()


def _compile_leniently(path: str) -> re.Pattern[str]:
    below = path.endswith("/**")
    pattern = compile_path(_leniently(path if below else path.removesuffix("/")), of_decoded=True).pattern
    # Its own escapes are decoded only there: what they stand for has capitals too.
    return re.compile(pattern if below else pattern + "/?", re.DOTALL | re.IGNORECASE)


def _normal(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.match(character) else escape[0].upper()


def _methods(route: Route) -> tuple[str, ...]:
    return (*route.methods, "HEAD") if "GET" in route.methods else route.methods


def _rewritten(route: Route, pattern_path: str, path: str, compared: str) -> str:
    if not route.rewrite:
        return path
    # What a /** stood for is carried over from the normalized path: the raw one may spell the prefix at another length.
    depth = pattern_path.removesuffix("/**").count("/")
    rest = compared.split("/", depth + 1)[depth + 1]
    return route.rewrite.removesuffix("**") + rest if route.rewrite.endswith("/**") else route.rewrite
