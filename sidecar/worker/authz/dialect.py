"""How each proxy words its question, and what it can do with the answer. Pure.

The first segment of the path says which proxy asks: `/envoy/…` carries the request's own path behind it,
the others tell the request in header fields. Only the proxy reaches this listener, and its configuration
sets those fields, so that a client's copies never arrive (see deploy/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sidecar.refusals import INVALID_REQUEST, METHOD_REFUSED, TARGET_TOO_LONG, UNKNOWN_ROUTE, Refused
from sidecar.worker.client.head import METHODS
from sidecar.worker.client.request_head import Notes, RequestHead
from sidecar.worker.client.target import Target, parse_target

_RESERVED = re.compile(rb"%(?:2[46bBcCfF]|3[aAbBdD]|40)")
"""Escapes of what Go's net/url leaves bare in a path: `$&+,/:;=@`."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A proxy. Without `target_field` the question has the method and, behind the first segment, the path of the request itself."""

    name: str
    method_field: bytes = b""
    target_field: bytes = b""
    takes_target: bool = False
    """It asks the hub for the target that the answer names; the others send the client's own on."""
    decodes: bool = False
    """It decodes that target's path first, and so would ask for another one where a reserved character was encoded."""
    carries_refusals: bool = True
    """It hands status, fields and body of a refusal to the client; nginx knows only 401 and 403, without a body."""
    gives_pages: bool = False
    """It can give the client an answer of ours that is no refusal; the others must send such requests to `/own`."""
    forwards: bool = True
    """It sends the hub what may go there; else it only hands over what the sidecar answers itself."""
    takes_removals: bool = False
    """It removes the fields that the answer names."""
    takes_fields: bool = False
    """It sends the hub no field of the client's but those that the answer repeats."""


ENVOY = Dialect("envoy", takes_removals=True)
NGINX = Dialect("nginx", b"x-original-method", b"x-original-uri", takes_target=True, carries_refusals=False, gives_pages=True)
TRAEFIK = Dialect("traefik", b"x-forwarded-method", b"x-forwarded-uri", takes_fields=True)
CADDY = Dialect("caddy", b"x-forwarded-method", b"x-forwarded-uri", takes_target=True, decodes=True)
OWN = Dialect("own", gives_pages=True, forwards=False)
"""A proxy that hands over, as to a hub, what the sidecar answers itself: preflights and the pages of a profile."""

DIALECTS = {dialect.name.encode(): dialect for dialect in (ENVOY, NGINX, TRAEFIK, CADDY, OWN)}


def dialect_of(path: bytes) -> Dialect | None:
    """Which proxy asks at `path`; None when none does."""
    return DIALECTS.get(path[1:].partition(b"/")[0])


class Told:
    """What a question says of the client's request; worked out once for all questions of one form."""

    __slots__ = ("dialect", "dropped", "host", "host_name", "method", "notes", "scheme", "target")

    def __init__(self, dialect: Dialect, method: bytes, target: Target, host: bytes, scheme: str) -> None:
        self.dialect = dialect
        self.method = method
        self.target = target
        self.host = host
        self.host_name = host.decode()
        self.scheme = scheme
        """Which scheme the client used, by the proxy's word."""
        self.notes = Notes()
        self.dropped: list[bytes | None] = [None] * 6
        """Names of the client's fields that must not reach the hub, with commas between: of nobody's request, of a key's, of a key's
        without an address, and then of the same within a trace of the client's."""


def told_by(head: RequestHead, longest_target: int) -> Told:
    """Read a question. Raises Refused: unknown_route for a path of no dialect, the rest for what the data plane would refuse too."""
    told = head.notes.told
    if not isinstance(told, Told):
        told = head.notes.told = _read(head, longest_target)
    return told


def retell(head: RequestHead, told: Told) -> None:
    """Make the question's `head` that of the client's request."""
    head.method = told.method
    head.target = told.target
    head.host = told.host
    head.notes = told.notes


def _read(head: RequestHead, longest_target: int) -> Told:
    _, slash, rest = head.target.path[1:].partition(b"/")
    dialect = dialect_of(head.target.path)
    if dialect is None:
        raise Refused(UNKNOWN_ROUTE, "Ask at /envoy, /nginx, /traefik or /caddy.")
    scheme = "https" if _told_or(head, b"x-forwarded-proto", b"http").lower() == b"https" else "http"
    if not dialect.target_field:
        return Told(dialect, head.method, Target(slash + rest or b"/", head.target.query), head.host, scheme)
    method = _told(head, dialect.method_field)
    if method not in METHODS:
        raise Refused(METHOD_REFUSED)
    raw = _told(head, dialect.target_field)
    if len(raw) > longest_target:
        raise Refused(TARGET_TOO_LONG)
    host = _told_or(head, b"x-forwarded-host", head.host)
    target = parse_target(method, raw, host)
    if dialect.decodes and _RESERVED.search(target.path):
        raise Refused(INVALID_REQUEST, "The proxy would decode a reserved character in the path; send none encoded.")
    return Told(dialect, method, target, host, scheme)


def _told(head: RequestHead, name: bytes) -> bytes:
    values = head.all(name)
    if len(values) != 1 or not values[0]:
        raise Refused(INVALID_REQUEST, f"The proxy must set {name.decode()}, once; its configuration lacks that.")
    return values[0]


def _told_or(head: RequestHead, name: bytes, default: bytes) -> bytes:
    values = head.all(name)
    return values[0] if len(values) == 1 else default
