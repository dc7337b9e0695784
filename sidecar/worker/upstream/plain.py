"""Reads the usual answer of a hub without llhttp's callbacks: a plain head with one length, and all of the body, in one piece.

It must be plain in every respect: whole lines of printable ASCII, a field name and a value on each, nothing that
could move the end of the answer but one Content-Length that the bytes agree with. There is one way to read such bytes;
whatever is not like that, llhttp reads (`parser.py`).
"""

from __future__ import annotations

import re

LONGEST_HEAD = 8 << 10
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) [\x20-\x7e]*")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_LENGTH = re.compile(rb"0|[1-9]\d{0,8}")
KEEP_ALIVE_TIMEOUT = re.compile(rb"timeout=(\d+)")
"""In a Keep-Alive field: the seconds for which a hub keeps an idle connection."""
_LONGEST_NUMBER = 9
_WITHOUT_BODY = (204, 205, 304)
_OF_THE_CONNECTION = frozenset({b"transfer-encoding", b"upgrade", b"trailer", b"proxy-connection", b"te"})
_NEVER_REMEMBERED = frozenset({b"set-cookie", b"set-cookie2", b"authorization", b"www-authenticate"})
_LONGEST_REMEMBERED = 128
_MOST_REMEMBERED = 1024


class Line:
    """What one line of a head says; `length` (bytes of the body) and `patience` (seconds) are -1 where the line says nothing of them."""

    __slots__ = ("field", "length", "patience", "status")

    def __init__(self, status: int, field: tuple[bytes, bytes], length: int = -1, patience: float = -1.0) -> None:
        self.status = status
        self.field = field
        self.length = length
        self.patience = patience


class PlainAnswer:
    """A whole answer, after which the hub keeps the connection."""

    __slots__ = ("body", "headers", "patience", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, patience: float) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.patience = patience
        """What `Keep-Alive: timeout=` promises, in seconds; -1 when it does not."""


class PlainReader:
    """Reads for all connections of a pool, and remembers the lines that came before: most of a head is like the last one's."""

    def __init__(self) -> None:
        self._status_lines: dict[bytes, Line] = {}
        self._fields: dict[bytes, Line] = {}

    def read(self, data: bytes) -> PlainAnswer | None:
        """The answer that `data` is; None when it is anything but one plain answer, neither cut short nor followed by more.

        Not for the answer to HEAD, whose length says nothing of what follows.
        """
        end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
        if end < 0:
            return None
        lines = data[:end].split(b"\r\n")
        first = self._status_lines.get(lines[0]) or self._judge_status(lines[0])
        if first is None:
            return None
        remembered = self._fields
        headers: list[tuple[bytes, bytes]] = []
        length, patience = -1, -1.0
        for text in lines[1:]:
            line = remembered.get(text) or self._judge_field(text)
            if line is None:
                return None
            if line.length >= 0:
                if length >= 0:
                    return None
                length = line.length
            if line.patience >= 0:
                patience = line.patience
            headers.append(line.field)
        if length < 0 or len(data) != end + 4 + length:
            return None
        return PlainAnswer(first.status, headers, data[end + 4 :], patience)

    def _judge_status(self, text: bytes) -> Line | None:
        match = _STATUS_LINE.fullmatch(text)
        if match is None or (status := int(match[1])) in _WITHOUT_BODY:
            return None
        return _remember(self._status_lines, text, Line(status, (b"", b"")))

    def _judge_field(self, text: bytes) -> Line | None:
        match = _FIELD_LINE.fullmatch(text)
        if match is None:
            return None
        name, value = match[1], match[2]
        lowered = name.lower()
        if lowered in _OF_THE_CONNECTION or (lowered == b"connection" and value.lower() != b"keep-alive"):
            return None
        line = Line(0, (name, value))
        if lowered == b"content-length":
            if _LENGTH.fullmatch(value) is None:
                return None
            line.length = int(value)
        elif lowered == b"keep-alive" and (promise := KEEP_ALIVE_TIMEOUT.search(value)):
            if len(promise[1]) > _LONGEST_NUMBER:
                return None
            line.patience = max(0.0, int(promise[1]) - 1.0)
        return line if lowered in _NEVER_REMEMBERED else _remember(self._fields, text, line)


def _remember(known: dict[bytes, Line], text: bytes, line: Line) -> Line:
    if len(text) <= _LONGEST_REMEMBERED:
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        known[text] = line
    return line
