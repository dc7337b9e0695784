"""What a profile's types cannot say: paths that make sense, names that exist, places that can be looked in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sidecar.hubs.model import alternatives
from sidecar.hubs.profile import Headers, Ledger, Profile, Route
from sidecar.hubs.protected import HOP_BY_HOP

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "*"})
"""OPTIONS is answered by the sidecar itself, CONNECT and TRACE are never served."""

PLACE = re.compile(r"json:[^.:|\s]+(?:\.[^.:|\s]+){0,7}|form:[^:|\s]+|query:[^:|\s]+|path:\d{1,2}\+?")
PLACEHOLDERS = frozenset({"key_id", "request_id", "access_key", "client", "scheme", "host"})

_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()+,;=:@/-]|%[0-9A-Fa-f]{2}|(?<=/)\*(?=/|$))*")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\x20-\x7e]*")
_OF_THE_MESSAGE = frozenset({*HOP_BY_HOP, "content-length", "expect", "via", "traceparent"})
"""What the sidecar itself says to the hub, once: two of one of them and a hub may take one request for two (RFC 9112 6.3)."""
_BRACES = re.compile(r"\{([^{}]*)\}")


def faults_of(profile: Profile) -> list[str]:
    """One `path: sentence` for each thing in `profile` that cannot work; empty when all is well."""
    faults = [fault for index, route in enumerate(profile.routes) for fault in _route(route, f"routes[{index}]")]
    faults += _clashes(profile)
    faults += _headers(profile.headers)
    faults += _injected(profile.headers)
    faults += [f"credential_parameters: {name!r} is not a parameter name" for name in profile.credential_parameters if not name.strip()]
    faults += _ledger(profile.ledger)
    return faults


def path_fault(path: str) -> str | None:
    """Why `path` is no path or pattern of paths; None when it is one."""
    stem = path[:-2] if path.endswith("/**") else path
    if not _PATH.fullmatch(stem) or "//" in stem:
        return f"{path!r} is not a path; write /exact/path, /with/*/segment or /everything/below/**"
    if any(segment in (".", "..") for segment in path.split("/")):
        return f"{path!r} has a dot segment"
    return None


def _route(route: Route, here: str) -> Iterator[str]:
    yield from _paths(route, here)
    for method in route.methods:
        if method not in METHODS:
            yield f"{here}.methods: {method!r} is not one of {', '.join(sorted(METHODS))}"
    for number, entry in enumerate(route.model):
        for place in alternatives(entry):
            if not PLACE.fullmatch(place):
                yield f"{here}.model: {place!r} is not a place; write json:a.b, form:name, query:name, path:N or path:N+"
        if number and "|" in entry:
            yield f"{here}.model: {entry!r} has alternatives, which only the first entry can have"
        if len({place.startswith(("json:", "form:")) for place in alternatives(entry)}) > 1:
            # Whoever is not shown the body would take the place outside for all that there is.
            yield f"{here}.model: {entry!r} has alternatives in the body and outside of it"
    if route.public and route.opt_in:
        yield f"{here}: a public route asks for no key, so it cannot be opt_in"
    if route.answer and not route.public:
        yield f"{here}.answer: only a public route can be answered by the sidecar"


def _paths(route: Route, here: str) -> Iterator[str]:
    rewrite = [route.rewrite] if route.rewrite else []
    for path in (*route.paths, *rewrite):
        if (fault := path_fault(path)) is not None:
            yield f"{here}: {fault}"
    if rewrite and any(path.endswith("/**") != route.rewrite.endswith("/**") for path in route.paths):
        yield f"{here}.rewrite: must end in /** when the path does, and only then"
    if "*" in route.rewrite.removesuffix("/**"):
        yield f"{here}.rewrite: cannot hold a *; only a last /** is carried over"


def _clashes(profile: Profile) -> Iterator[str]:
    seen: dict[tuple[str, str], int] = {}
    for index, route in enumerate(profile.routes):
        for path in route.paths:
            for method in route.methods:
                other = seen.setdefault((method, path), index)
                if other != index:
                    yield f"routes[{index}]: {method} {path} is already routes[{other}]"


def _headers(headers: Headers) -> Iterator[str]:
    for where, names in (("allow", headers.allow or ()), ("protect", headers.protect), ("inject", tuple(headers.inject))):
        for name in names:
            if not _FIELD_NAME.fullmatch(name) or (where == "inject" and "*" in name):
                yield f"headers.{where}: {name!r} is not a header name"
            elif where == "inject" and name.lower() == "host":
                yield "headers.inject.host: the sidecar sets it; say what the hub is called in hub.host of the configuration"
            elif where == "inject" and name.lower() in _OF_THE_MESSAGE:
                yield f"headers.inject.{name}: the sidecar itself sets this one; leave it out"


def _injected(headers: Headers) -> Iterator[str]:
    names = [name.lower() for name in headers.inject]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"headers.inject.{name}: is there twice, in other capitals; leave one out"
    for name, template in headers.inject.items():
        for placeholder in _BRACES.findall(template):
            if placeholder not in PLACEHOLDERS:
                yield f"headers.inject.{name}: {{{placeholder}}} is unknown; known are {', '.join(sorted(PLACEHOLDERS))}"
        if not _FIELD_VALUE.fullmatch(template) or set(_BRACES.sub("", template)) & set("{}"):
            yield f"headers.inject.{name}: is not a header value"


def _ledger(ledger: Ledger) -> Iterator[str]:
    if not ledger.form:
        return
    if (fault := path_fault(ledger.path)) is not None or "*" in ledger.path:
        yield f"ledger.path: {fault or 'cannot hold a *'}"
    if not ledger.parameter.strip():
        yield "ledger.parameter: is missing"
    if _BRACES.findall(ledger.key) != ["key_id"]:
        yield "ledger.key: must hold {key_id}, once, and nothing else in braces"
