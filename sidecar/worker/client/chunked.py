"""Decodes `Transfer-Encoding: chunked`, refusing whatever RFC 9112 7.1 does not spell out.

Chunk extensions and trailers are checked and dropped (RFC 9112 7.1.1, 7.1.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sidecar.refusals import HEADERS_TOO_LARGE, INVALID_REQUEST, Refused

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t\x20!#-\[\]-~\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# A recipient MUST take blanks around `;` and `=` (RFC 9112 7.1.1, RFC 9110 5.6.3), but none stand at the end of the line.
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:%(b)b;%(b)b%(token)b(?:%(b)b=%(b)b(?:%(token)b|%(quoted)b))?)*"
    % {b"b": rb"[ \t]*+", b"token": _TOKEN, b"quoted": _QUOTED}
)
_TRAILER = re.compile(rb"(?!(?i:content-length|transfer-encoding):)[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_LONGEST_SIZE_LINE = 512
_LONGEST_TRAILERS = 8 << 10


class ChunkedDecoder:
    """The body of one message."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._state: Callable[[list[bytes]], bool] = self._size
        self._remaining = 0
        self._trailers = 0
        self.done = False

    def feed(self, data: bytes) -> list[bytes]:
        """Decode `data`; returns body pieces. Raises Refused. When `done`, `rest` has what follows the body."""
        self._buffer += data
        pieces: list[bytes] = []
        while not self.done and self._state(pieces):
            pass
        return pieces

    @property
    def rest(self) -> bytes:
        """Bytes behind the body."""
        return bytes(self._buffer)

    def _line(self, longest: int, refusal: Refused) -> bytes | None:
        end = self._buffer.find(b"\n", 0, longest)
        if end < 0:
            if len(self._buffer) >= longest:
                raise refusal
            return None
        if end == 0 or self._buffer[end - 1] != 13:
            raise Refused(INVALID_REQUEST, "A line of the chunked body does not end in CRLF.")
        line = bytes(self._buffer[: end - 1])
        del self._buffer[: end + 1]
        return line

    def _size(self, _pieces: list[bytes]) -> bool:
        line = self._line(_LONGEST_SIZE_LINE, Refused(INVALID_REQUEST, "A chunk extension is too long."))
        if line is None:
            return False
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise Refused(INVALID_REQUEST, "A chunk size is not a hexadecimal number.")
        self._remaining = int(match[1], 16)
        self._state = self._data if self._remaining else self._trailer
        return True

    def _data(self, pieces: list[bytes]) -> bool:
        if self._remaining:
            piece = bytes(self._buffer[: self._remaining])
            if not piece:
                return False
            del self._buffer[: len(piece)]
            self._remaining -= len(piece)
            pieces.append(piece)
        if self._remaining or not self._buffer:
            return False
        if not b"\r\n".startswith(self._buffer[:2]):
            raise Refused(INVALID_REQUEST, "A chunk is longer than its size says.")
        if len(self._buffer) < 2:
            return False
        del self._buffer[:2]
        self._state = self._size
        return True

    def _trailer(self, _pieces: list[bytes]) -> bool:
        line = self._line(_LONGEST_TRAILERS, Refused(HEADERS_TOO_LARGE))
        if line is None:
            return False
        if not line:
            self.done = True
            return False
        self._trailers += len(line)
        if self._trailers > _LONGEST_TRAILERS:
            raise Refused(HEADERS_TOO_LARGE)
        if not _TRAILER.fullmatch(line):
            raise Refused(INVALID_REQUEST, "A trailer field is not valid.")
        return True
