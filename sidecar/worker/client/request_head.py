"""A request head that was read: what every later stage decides on and forwards."""

from __future__ import annotations

from typing import NamedTuple

from sidecar.worker.client.target import Target

SINGLETONS = frozenset(
    {b"host", b"content-type", b"content-length", b"transfer-encoding", b"content-range", b"max-forwards", b"user-agent"}
)
READ = SINGLETONS | {
    b"access-control-request-headers",
    b"authorization",
    b"connection",
    b"content-encoding",
    b"expect",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"traceparent",
    b"tracestate",
    b"upgrade",
    b"via",
    b"x-forwarded-for",
}
"""What the sidecar itself looks at: found by name without going through all fields again."""
NEVER_REMEMBERED = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"cookie2"})
"""Fields whose values are secrets."""


class Field(NamedTuple):
    """A header field: lower-case name, value without surrounding blanks, the line as it is forwarded, whether we read it."""

    name: bytes
    value: bytes
    line: bytes
    read: bool


class Notes:
    """What later stages have worked out from a head's form, for themselves and for the next head of that form.

    A form is all of a head but the values of the few fields that differ from request to request (`known_heads.py`).
    """

    __slots__ = ("agent", "layout", "method", "passed", "path", "told")

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.agent: str | None = None
        self.passed: bytes | None = None
        self.layout: object = None
        """How such heads are written, where their form is known."""
        self.told: object = None
        """Where the head is a proxy's question: what it says of the client's request."""


_NO_VALUES: list[bytes] = []


class RequestHead:
    """A request line and its fields, as sent."""

    __slots__ = (
        "chunked", "content_length", "expects_continue", "fields", "host", "keep_alive", "method", "minor_version", "nominated",
        "notes", "read", "target", "token", "upgrade",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: Target,
        minor_version: int,
        fields: list[Field],
        host: bytes,
        content_length: int | None,
        chunked: bool,
        keep_alive: bool,
        expects_continue: bool,
        nominated: frozenset[bytes],
        upgrade: bytes,
        read: dict[bytes, list[bytes]],
        token: bytes | None,
        notes: Notes,
    ) -> None:
        self.method = method
        self.target = target
        self.minor_version = minor_version
        self.fields = fields
        self.host = host
        self.content_length = content_length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.nominated = nominated
        """Field names in Connection: hop-by-hop for this message (RFC 9110 7.6.1)."""
        self.upgrade = upgrade
        self.read = read
        """Values by name, of the fields that the sidecar looks at; without the credential, where `token` has it, and often
        without Content-Length, of which `content_length` has the number."""
        self.token = token
        """The credential, where it stands in one plain `Authorization: Bearer …`; None says nothing, look at the field."""
        self.notes = notes
        """What is worked out once for all heads of this form."""

    def first(self, name: bytes) -> bytes | None:
        """The value of the first field called `name` (lower case)."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """The values of every field called `name` (lower case), in order."""
        if self.token is not None and name == b"authorization":
            return [b"Bearer " + self.token]
        if name in READ:
            return self.read.get(name, _NO_VALUES)
        return [field.value for field in self.fields if field.name == name]

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow."""
        return self.chunked or bool(self.content_length)
