"""Reads one request head, strictly: what RFC 9110 and 9112 do not allow is refused, never repaired.

Pure: bytes in, a `RequestHead` or a `Refused` out. Everything later (identity, route, rewriting)
decides on these very bytes and forwards them, so nothing here may normalise what the hub will see.
"""

from __future__ import annotations

import re

from sidecar.refusals import (
    ENCODING_NOT_SUPPORTED,
    EXPECTATION_FAILED,
    HEADERS_TOO_LARGE,
    INVALID_REQUEST,
    METHOD_REFUSED,
    REQUEST_TOO_LARGE,
    TARGET_TOO_LONG,
    VERSION_NOT_SUPPORTED,
    Refusal,
    Refused,
)
from sidecar.settings.declaration import Bounds
from sidecar.worker.client.request_head import NEVER_REMEMBERED, READ, SINGLETONS, Field, Notes, RequestHead
from sidecar.worker.client.target import parse_target

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})

_REQUEST_LINE = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.([01])")
_OTHER_VERSION = re.compile(rb"[A-Z]+ [\x21-\x7e]+ HTTP/\d\.\d")
# RFC 9110 9.1: a method is any token. One that begins like a method is refused as such, not as a broken line.
_OTHER_METHOD = re.compile(rb"[A-Z][!#$%&'*+.^_`|~0-9A-Za-z-]* [\x21-\x7e]+ HTTP/1\.[01]")
# RFC 9110 5.1 and 5.5: a token, a colon at once behind it, no control character but HTAB.
_FIELD_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_IMPOSSIBLE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_DIGITS = re.compile(rb"\d{1,18}")

_NOTHING: frozenset[bytes] = frozenset()
_BLANK_LINES = 2
"""Empty lines before a request line that are skipped (RFC 9112 2.2 asks for at least one)."""


class HeadReader:
    """Finds and parses request heads for one worker; remembers lines that it has split before."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._longest = bounds.target + bounds.headers + 64
        self._lines: dict[bytes, Field] = {}

    def find_end(self, buffer: bytearray, scanned: int) -> int:
        """Offset behind the blank line that ends the head, or -1 while it is incomplete.

        `scanned` bytes were looked at before. Raises Refused as soon as the head cannot become valid,
        so that nonsense is answered at once instead of at the deadline.
        """
        end = buffer.find(b"\r\n\r\n", max(0, scanned - 3))
        if end >= 0:
            if end > self._longest:
                raise self._too_long(buffer)
            return end + 4
        if _IMPOSSIBLE.search(buffer, max(0, scanned - 1)) or (buffer and not (65 <= buffer[0] <= 90) and buffer != b"\r"):
            raise Refused(INVALID_REQUEST)
        line_end = buffer.find(b"\r\n", 0, self._bounds.target + 64)
        if line_end >= 0 and scanned <= line_end + 2:
            self._request_line(bytes(buffer[:line_end]))
        if len(buffer) > self._longest or (line_end < 0 and len(buffer) > self._bounds.target + 64):
            raise self._too_long(buffer)
        return -1

    def parse(self, head: bytes) -> RequestHead:
        """Parse `head`, which ends with a blank line. Raises Refused."""
        line_end = head.find(b"\r\n")
        method, raw_target, minor = self._request_line(head[:line_end])
        start = line_end + 2
        if not _FIELD_LINES.fullmatch(head, start, len(head) - 2):
            raise Refused(INVALID_REQUEST)
        if len(head) - start > self._bounds.headers:
            raise Refused(HEADERS_TOO_LARGE)
        if not head.isascii():
            _require_utf8(head)
        lines = head[start:-4].split(b"\r\n") if len(head) - start > 2 else []
        if len(lines) > self._bounds.header_count:
            raise Refused(HEADERS_TOO_LARGE)
        remembered = self._lines
        fields = [remembered.get(line) or self._split(line) for line in lines]
        return self._interpret(method, raw_target, minor, fields)

    def _request_line(self, line: bytes) -> tuple[bytes, bytes, int]:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            if len(line) > self._bounds.target + 32:
                raise Refused(TARGET_TOO_LONG)
            if _OTHER_METHOD.fullmatch(line):
                raise Refused(METHOD_REFUSED)
            raise Refused(VERSION_NOT_SUPPORTED if _OTHER_VERSION.fullmatch(line) else INVALID_REQUEST)
        method, target, minor = match.groups()
        if method not in METHODS:
            raise Refused(METHOD_REFUSED)
        if len(target) > self._bounds.target:
            raise Refused(TARGET_TOO_LONG)
        return method, target, minor[0] - 48

    def _split(self, line: bytes) -> Field:
        name, _, value = line.partition(b":")
        value = value.strip(b" \t")
        lowered = name.lower()
        field = Field(lowered, value, b"%b: %b\r\n" % (name, value), lowered in READ)
        if len(line) <= 256 and field.name not in NEVER_REMEMBERED:
            if len(self._lines) >= 4096:
                self._lines.clear()
            self._lines[line] = field
        return field

    def _interpret(self, method: bytes, raw_target: bytes, minor: int, fields: list[Field]) -> RequestHead:
        read: dict[bytes, list[bytes]] = {}
        for name, value, _, _ in [field for field in fields if field.read]:
            if name not in read:
                read[name] = [value]
            elif name in SINGLETONS:
                raise Refused(INVALID_REQUEST, f"The field {name.decode()} may be sent once.")
            else:
                read[name].append(value)
        host = self._host(read.get(b"host"), minor)
        length, chunked = self._framing(read.get(b"content-length"), read.get(b"transfer-encoding"), minor)
        nominated = _tokens(read[b"connection"]) if b"connection" in read else _NOTHING
        expects = b"expect" in read and self._expectation(read[b"expect"], minor)
        keep_alive = b"close" not in nominated and (minor == 1 or b"keep-alive" in nominated)
        upgrade = read[b"upgrade"][-1].lower() if b"upgrade" in read and minor == 1 and b"upgrade" in nominated else b""
        target = parse_target(method, raw_target, host)
        return RequestHead(
            method, target, minor, fields, host, length, chunked, keep_alive, expects, nominated, upgrade, read, None, Notes()
        )

    @staticmethod
    def _host(hosts: list[bytes] | None, minor: int) -> bytes:
        # RFC 9112 3.2: exactly one, and valid; HTTP/1.0 may leave it out.
        if hosts is None:
            if minor == 1:
                raise Refused(INVALID_REQUEST, "Send a Host field.")
            return b""
        host = hosts[0]
        match = _HOST.fullmatch(host)
        if match is None or (match[1] is not None and int(match[1]) > 65535):
            raise Refused(INVALID_REQUEST, "The Host field is not a host and port.")
        return host

    def _framing(self, lengths: list[bytes] | None, codings: list[bytes] | None, minor: int) -> tuple[int | None, bool]:
        # RFC 9112 6.1 and 6.3: anything but one plain length or one `chunked` is an attempt at smuggling.
        if codings is not None:
            if lengths is not None or minor == 0 or codings[0].lower() != b"chunked":
                raise Refused(ENCODING_NOT_SUPPORTED)
            return None, True
        if lengths is None:
            return None, False
        if not _DIGITS.fullmatch(lengths[0]):
            raise Refused(INVALID_REQUEST, "Content-Length is not a number.")
        number = int(lengths[0])
        if number > self._bounds.body:
            raise Refused(REQUEST_TOO_LARGE)
        return number, False

    @staticmethod
    def _expectation(expectations: list[bytes], minor: int) -> bool:
        # RFC 9110 10.1.1: ignored in HTTP/1.0, anything but 100-continue may be refused with 417.
        if minor == 0:
            return False
        if any(value.lower() != b"100-continue" for value in expectations):
            raise Refused(EXPECTATION_FAILED)
        return True

    def _too_long(self, buffer: bytearray) -> Refused:
        line_end = buffer.find(b"\r\n")
        refusal: Refusal = TARGET_TOO_LONG if not 0 <= line_end <= self._bounds.target + 64 else HEADERS_TOO_LARGE
        return Refused(refusal)


def skip_blank_lines(buffer: bytearray, skipped: int) -> int:
    """Remove empty lines in front of a request line; returns how many were ever removed. Raises Refused beyond two."""
    while buffer.startswith(b"\r\n"):
        del buffer[:2]
        skipped += 1
        if skipped > _BLANK_LINES:
            raise Refused(INVALID_REQUEST)
    return skipped


def _require_utf8(head: bytes) -> None:
    # A byte that another parser drops or replaces would make the hub see a value that was never checked.
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(INVALID_REQUEST, "Header fields must be UTF-8.") from None


def _tokens(values: list[bytes]) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t").lower() for value in values for token in value.split(b",")) - {b""}
