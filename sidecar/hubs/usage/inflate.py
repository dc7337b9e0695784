"""Undoes gzip and deflate while the bytes pass, in bounded memory and with a bound on what may come out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import ClassVar

LARGEST_PIECE = 256 << 10
"""Bytes that are made of a chunk at a time."""
LARGEST_ANSWER = 128 << 20
"""Bytes of a whole answer, beyond which the rest is not looked at: a kilobyte that stands for a megabyte of zeros must not cost a
megabyte of work for ever."""
MOST_MEMBERS = 1000
"""gzip members of an answer, beyond which the rest is not looked at: to begin one costs as much as to undo a thousand bytes."""

_GZIP = 16 + zlib.MAX_WBITS


class Inflater:
    """Turns a compressed answer into the pieces of the plain one. Garbage ends it silently."""

    CODINGS: ClassVar[tuple[str, ...]] = ("gzip", "x-gzip", "deflate")

    def __init__(self, coding: str) -> None:
        # RFC 9110 8.4.1.2 tells of servers that leave the zlib wrapper out; its two bytes tell.
        self._head = b"" if coding == "deflate" else None
        self._window = _GZIP
        self._stream = zlib.decompressobj(_GZIP)
        self._left = LARGEST_ANSWER
        self._members = 0
        """That are over."""
        self._is_between = False
        """Whether the last one is over and no other has begun."""
        self.failed = False
        """Something could not be undone or was too much, so what came out is not all there was."""

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` brings, each piece at most LARGEST_PIECE bytes."""
        if self._head is not None:
            self._head += chunk
            if len(self._head) < 2:
                return
            chunk, self._head = self._head, None
            is_wrapped = chunk[0] & 0x0F == zlib.DEFLATED and int.from_bytes(chunk[:2], "big") % 31 == 0
            self._window = zlib.MAX_WBITS if is_wrapped else -zlib.MAX_WBITS
            self._stream = zlib.decompressobj(self._window)
        while chunk and not self.failed:
            if self._is_between:
                # gzip(1) passes over the zeros that tape drives and some servers fill up with.
                chunk = chunk.lstrip(b"\0")
                self._is_between = not chunk
                self.failed = bool(chunk) and self._members == MOST_MEMBERS
                continue
            try:
                piece = self._stream.decompress(chunk, LARGEST_PIECE)
            except zlib.error:
                self.failed = True
                return
            self._left -= len(piece)
            self.failed = self._left < 0
            chunk = self._stream.unconsumed_tail
            if self._stream.eof:
                # gzip may hold several members, one after the other.
                chunk = self._stream.unused_data
                self._stream = zlib.decompressobj(self._window)
                self._is_between = True
                self._members += 1
            if piece:
                yield piece
