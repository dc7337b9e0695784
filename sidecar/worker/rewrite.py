"""Rewrite: the head that the hub gets, and the head that the client gets back. Pure.

What a client sends is dropped first and our own fields are added last, so that `Connection:
x-aigne-hub-client-did` can remove nothing of ours (CVE-2025-48865 was that mistake).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from operator import attrgetter

from msgspec import structs

from sidecar.hubs.profile import Profile, Route
from sidecar.hubs.protected import HOP_BY_HOP, HeaderPolicy
from sidecar.settings.declaration import Hub
from sidecar.settings.values import Listen
from sidecar.worker.client.request_head import RequestHead
from sidecar.worker.identify import has_parameter_of

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_BEFORE_SEPARATOR = re.compile(rb"(?=[&;])")
_ADDRESS = "{client}"
_IDENTITY_PLACES = ("{key_id}", _ADDRESS)
"""What makes an injected field one that says who is asking."""
_ANSWER_DROPPED = frozenset(name.encode() for name in HOP_BY_HOP) | {b"content-length", b"x-request-id"}
_OF_THE_MESSAGE = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
    }
)
"""What every proxy answers for itself: to remove it would change the message."""
_COOKIES = frozenset({b"set-cookie", b"set-cookie2"})
_OF_THE_CONTENT = b"content-"
"""How fields begin that no Connection may nominate (RFC 9110 7.6.1): the model is judged by the body's Content-Type, so the hub
must get the same one, or it may read another model in the same body."""
_SUBPROTOCOLS = b"sec-websocket-protocol"
_TRACE_STATE = b"tracestate"
TELLING = 16
"""Bytes of the shortest credential that is searched for in other fields and in the query: a shorter one, imported from elsewhere, might be
an ordinary word."""


class Caller:
    """What the injected fields may speak of."""

    __slots__ = ("client", "host", "in_trace", "key_id", "request_id", "scheme", "traceparent")

    def __init__(self, key_id: str, request_id: str, client: str, scheme: str, host: str, traceparent: str, in_trace: bool) -> None:
        self.key_id = key_id
        self.request_id = request_id
        self.client = client
        self.scheme = scheme
        self.host = host
        self.traceparent = traceparent
        self.in_trace = in_trace
        """Whether the caller began the trace."""


class Framing:
    """How a body is sent: `length` bytes, or chunked, or (None, False) when there is none."""

    __slots__ = ("chunked", "length")

    def __init__(self, length: int | None, chunked: bool) -> None:
        self.length = length
        self.chunked = chunked


class RequestRewriter:
    """Builds the heads of requests to the hub of `hub`, by `profile`.

    `via` goes behind the Via of the client's proxies (RFC 9110 7.6.3), so that each of several sidecars in a loop notices it. Where it
    is empty, another proxy forwards and reads the answer: then neither Via nor Accept-Encoding is set here.
    """

    def __init__(self, profile: Profile, hub: Hub, via: str) -> None:
        self._mount = hub.url.mount.encode()
        fixed = (f"via: 1.1 {via}\r\n" if via else "") + "traceparent: {traceparent}\r\n"
        replaced = ["traceparent"]
        if profile.identity_encoding and via:
            replaced.append("accept-encoding")
            fixed += "accept-encoding: identity\r\n"
        headers = structs.replace(profile.headers, protect=(*profile.headers.protect, *replaced))
        self._policy = HeaderPolicy(headers)
        self._dropped_parameters = frozenset(name.lower().encode() for name in profile.credential_parameters)
        self._dropped_protocols = tuple(beginning.lower().encode() for beginning in profile.credential_protocols)
        self._line = f"host: {_host_of(hub)}\r\n".encode()
        access_key = hub.access_key.reveal()
        inject = {name: text for name, text in headers.inject.items() if access_key or "{access_key}" not in text}
        anonymous = {name: text for name, text in inject.items() if not any(place in text for place in _IDENTITY_PLACES)}
        unaddressed = {name: text for name, text in inject.items() if _ADDRESS not in text}
        self._with_identity = _Injection(inject, access_key, fixed)
        self._unaddressed = _Injection(unaddressed, access_key, fixed)
        self._anonymous = _Injection(anonymous, access_key, fixed)

    def head(self, head: RequestHead, hub_path: bytes, route: Route, caller: Caller, framing: Framing, *, upgrade: bool = False) -> bytes:
        """The request head for the hub, with the blank line behind it."""
        passed = head.notes.passed
        if passed is None:
            passed = head.notes.passed = b"".join(self.passed(head))
        if not caller.in_trace and _TRACE_STATE in head.read:
            passed = b"".join(self.passed(head, in_trace=False))
        token = head.token or _bearer(head)
        if len(token) >= TELLING and token in passed:
            # Some client sends its key in a field of its own devising too. What is the hub's business is never the key.
            passed = b"".join(line for line in self.passed(head, in_trace=caller.in_trace) if token not in line)
        parts = [b"%b %b HTTP/1.1\r\n" % (head.method, self.target(head, hub_path)), self._line, passed, self.injected(route, caller)]
        if framing.chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        elif framing.length is not None:
            parts.append(b"content-length: %d\r\n" % framing.length)
        if upgrade:
            parts.append(b"connection: upgrade\r\nupgrade: websocket\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def target(self, head: RequestHead, hub_path: bytes) -> bytes:
        """What the hub is asked for: mount, path, and the query without credentials."""
        query = head.target.query
        if query is not None:
            query = self._strip(query, head.token or _bearer(head))
        return self._mount + hub_path if query is None else b"%b%b?%b" % (self._mount, hub_path, query)

    def passed(self, head: RequestHead, *, in_trace: bool = True) -> list[bytes]:
        """The lines of the client's fields that reach the hub; what is said of its trace only where that goes on."""
        passes = self._policy.verdicts
        nominated = head.nominated
        if nominated:
            lines = [
                line for name, _, line, _ in head.fields if passes[name] and (name not in nominated or name.startswith(_OF_THE_CONTENT))
            ]
        else:
            lines = [line for name, _, line, _ in head.fields if passes[name]]
        if not in_trace:
            lines = [line for line in lines if line.partition(b":")[0].lower() != _TRACE_STATE]
        return self._without_protocols(lines) if self._dropped_protocols and head.all(_SUBPROTOCOLS) else lines

    def injected(self, route: Route, caller: Caller) -> bytes:
        """The lines of our own fields."""
        return self._injection(route, caller).lines(caller)

    def names_request(self, route: Route, caller: Caller) -> bool:
        """Whether our own fields tell the request's id."""
        return self._injection(route, caller).names_request

    def dropped(self, head: RequestHead, route: Route, caller: Caller) -> tuple[bytes, ...]:
        """Names of the client's fields that do not reach the hub: not ours, which replace them, nor those of the message itself."""
        ours = self._injection(route, caller).names
        nominated = {name for name in head.nominated if not name.startswith(_OF_THE_CONTENT)}
        if not caller.in_trace:
            nominated.add(_TRACE_STATE)
        names = {field.name for field in head.fields if not self._policy.passes(field.name) or field.name in nominated}
        if self._dropped_protocols and any(self._offered(value) is not None for value in head.all(_SUBPROTOCOLS)):
            names.add(_SUBPROTOCOLS)
        return tuple(sorted(names - ours - _OF_THE_MESSAGE))

    def _injection(self, route: Route, caller: Caller) -> _Injection:
        return self._with_identity if route.identity and caller.key_id else self._anonymous

    def _without_protocols(self, lines: list[bytes]) -> list[bytes]:
        """`lines` without the subprotocols that are credentials; a field that offers no other is left out."""
        kept: list[bytes] = []
        for line in lines:
            name, _, value = line.partition(b":")
            offered = self._offered(value) if name.lower() == _SUBPROTOCOLS else None
            if offered is None:
                kept.append(line)
            elif offered:
                kept.append(b"%b: %b\r\n" % (name, b", ".join(offered)))
        return kept

    def _offered(self, value: bytes) -> list[bytes] | None:
        """The subprotocols in `value` that the hub may see; None when that is all of them."""
        tokens = [token.strip() for token in value.split(b",")]
        kept = [token for token in tokens if not token.lower().startswith(self._dropped_protocols)]
        return kept if len(kept) < len(tokens) else None

    def _strip(self, query: bytes, token: bytes) -> bytes | None:
        """Drop credential parameters, and others that hold `token`; all else stays byte for byte. Some servers separate by `;` too."""
        pairs = _BEFORE_SEPARATOR.split(query)
        kept = [pair for pair in pairs if not has_parameter_of(self._dropped_parameters, pair.lstrip(b"&;"))]
        if len(token) >= TELLING and token in query:
            kept = [pair for pair in kept if token not in pair]
        if len(kept) == len(pairs):
            return query
        if not kept:
            return None
        return b"".join(kept) if kept[0] is pairs[0] else b"".join(kept)[1:]


class SocketRewriter(RequestRewriter):
    """The same for a unix socket, whose clients have no address unless a proxy that is believed tells one.

    A class of its own, so that where every client has an address no request asks for it.
    """

    def _injection(self, route: Route, caller: Caller) -> _Injection:
        if route.identity and caller.key_id and not caller.client:
            return self._unaddressed
        return super()._injection(route, caller)


def rewriter_for(listen: Listen, profile: Profile, hub: Hub, via: str) -> RequestRewriter:
    """The rewriter of what comes in at `listen`."""
    return (SocketRewriter if listen.path else RequestRewriter)(profile, hub, via)


def _bearer(head: RequestHead) -> bytes:
    """The credential of a head that is not written as usual."""
    values = head.all(b"authorization")
    return values[0].partition(b" ")[2].strip() if values else b""


def _host_of(hub: Hub) -> str:
    """What the hub is called in Host: as it is configured, else by its address."""
    url = hub.url
    if hub.host or not url.host:
        return hub.host or "localhost"
    # The colons of a bare IPv6 address would be taken for that of a port (RFC 3986 3.2.2).
    host = f"[{url.host}]" if ":" in url.host else url.host
    return host if url.port == (443 if url.scheme == "https" else 80) else f"{host}:{url.port}"


class AnswerRewriter:
    """Builds the heads of answers to clients."""

    def __init__(self, profile: Profile) -> None:
        self._dropped = _ANSWER_DROPPED if profile.headers.cookies else _ANSWER_DROPPED | _COOKIES
        self._verdicts: dict[bytes, bool] = {}

    def head(self, status: int, headers: list[tuple[bytes, bytes]], request_id: str, extra: bytes, *, limited: bool) -> bytes:
        """Status line and fields, without framing and without the blank line.

        `extra` has further lines of ours; with `limited` the hub's own rate-limit fields make way for them.
        """
        parts = [b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"Unknown"))]
        verdicts = self._verdicts
        nominated = _nominated(headers)
        for name, value in headers:
            keep = verdicts.get(name)
            if keep is None:
                keep = name.lower() not in self._dropped
                if len(verdicts) < 1024:
                    verdicts[name] = keep
            if not keep or (nominated and name.lower() in nominated) or (limited and name[:11].lower() == b"x-ratelimit"):
                continue
            parts.append(b"%b: %b\r\n" % (name, value))
        parts.append(b"x-request-id: %b\r\n" % request_id.encode())
        if extra:
            parts.append(extra)
        return b"".join(parts)


def _nominated(headers: list[tuple[bytes, bytes]]) -> frozenset[bytes]:
    nominated: frozenset[bytes] = frozenset()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            nominated |= {token.strip().lower() for token in value.split(b",")}
    return nominated


class _Injection:
    """Fields of ours: the lines with places for the caller, and their names."""

    def __init__(self, inject: dict[str, str], access_key: str, fixed: str) -> None:
        template = fixed + "".join(f"{name}: {text}\r\n" for name, text in inject.items())
        self.names = frozenset(line.partition(":")[0].lower().encode() for line in template.split("\r\n") if line)
        self.names_request = b"x-request-id" in self.names
        # Literal text and places by turns: what a caller says can then never be taken for a place.
        literals = re.split(r"\{(\w+)\}", template.replace("{access_key}", "\0"))
        # With two to begin with: attrgetter gives a tuple only for two or more.
        self._pick = attrgetter("scheme", "host", *literals[1::2])
        self._text = [text.replace("\0", access_key) for text in literals]

    def lines(self, caller: Caller) -> bytes:
        """The lines for `caller`."""
        text = self._text.copy()
        text[1::2] = self._pick(caller)[2:]
        return "".join(text).encode("latin-1", "replace")
