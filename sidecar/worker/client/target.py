"""Judges the request target: RFC 9112 3.2 forms, RFC 3986 characters, and no path that could mean two things.

The path and query that pass are forwarded byte for byte. What hubs and proxies are known to read in
different ways (dot segments, also encoded, empty segments, backslashes, encoded NUL) is refused.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sidecar.refusals import INVALID_REQUEST, Refused

_PATH = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
# `[` and `]` are not in RFC 3986's query, but every browser and many SDKs send them bare (ids[]=1).
_QUERY = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)([/?].*)?")
_SUSPECT = re.compile(rb"//|/\.|/%2[eE]|%2[fF]|%5[cC]|%00")
_DOT_SEGMENT = re.compile(rb"(?:^|/)\.\.?(?:;[^/]*)?(?:/|$)")


class Target(NamedTuple):
    """Path and query as sent; `query` is None when there is no `?`."""

    path: bytes
    query: bytes | None

    @property
    def raw(self) -> bytes:
        """What goes into the request line."""
        return self.path if self.query is None else b"%b?%b" % (self.path, self.query)


def parse_target(method: bytes, raw: bytes, host: bytes) -> Target:
    """The target of a request with `method` and `Host: host`. Raises Refused(invalid_request)."""
    if raw[:1] != b"/":
        raw = _other_form(method, raw, host)
        if raw == b"*":
            return Target(b"*", None)
    path, mark, query = raw.partition(b"?")
    if not _PATH.fullmatch(path):
        raise Refused(INVALID_REQUEST, "The request path has characters that must be percent-encoded.")
    if mark and (not _QUERY.fullmatch(query) or b"%00" in query):
        raise Refused(INVALID_REQUEST, "The query has characters that must be percent-encoded.")
    if _SUSPECT.search(path):
        _require_one_meaning(path)
    return Target(path, query if mark else None)


def _other_form(method: bytes, raw: bytes, host: bytes) -> bytes:
    if raw == b"*":
        if method != b"OPTIONS":
            raise Refused(INVALID_REQUEST, "Only OPTIONS may ask for *.")
        return raw
    match = _ABSOLUTE.fullmatch(raw)
    # RFC 9112 3.2.2 lets the authority overrule Host; a gateway that serves one hub accepts only agreement.
    if match is None or (host and match[1].lower() != host.lower()):
        raise Refused(INVALID_REQUEST, "The request target is not a path.")
    rest = match[2] or b"/"
    return rest if rest[:1] == b"/" else b"/" + rest


def _require_one_meaning(path: bytes) -> None:
    lowered = path.lower()
    if b"%00" in lowered or b"%5c" in lowered:
        raise Refused(INVALID_REQUEST, "The request path has an encoded NUL or backslash.")
    decoded = lowered.replace(b"%2e", b".").replace(b"%2f", b"/")
    if b"//" in decoded or _DOT_SEGMENT.search(decoded):
        raise Refused(INVALID_REQUEST, "The request path has empty or dot segments.")
