"""The hub's answers on one connection: llhttp's events, made stricter where one answer could become two.

The hub is trusted to speak for itself, not to be free of faults: bytes behind an answer, trailers, codings
that nobody asked for and fields without end must not reach whoever uses the connection next.
"""

from __future__ import annotations

import re
from collections import deque

import httptools

from sidecar.worker.upstream.plain import KEEP_ALIVE_TIMEOUT, PlainReader

LONGEST_HEAD = 64 << 10
"""Bytes of all fields together, trailers included; `plain` reads only far shorter heads."""
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class InvalidAnswer(Exception):
    """The bytes are no valid HTTP answer."""


class AnswerParser:
    """Parses one answer after the other; `start` begins each."""

    def __init__(self, plain: PlainReader | None = None) -> None:
        """`plain` spares llhttp the answers that anybody can read."""
        self._plain = plain
        self._parser = httptools.HttpResponseParser(self)
        self.idle_patience = float("inf")
        """What the hub's `Keep-Alive: timeout=` promises, in seconds."""
        self.upgraded: bytes | None = None
        """After 101: the first bytes of the other protocol."""
        self.start(b"GET")

    def start(self, method: bytes) -> None:
        """Get ready for the answer to a request with `method`."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.head_complete = False
        self.complete = False
        self.counted = False
        """Whether length or chunks say where the body ends; else the end of the connection does."""
        self.keep_alive = False
        self.surplus = False
        """Bytes came behind the answer: they would be taken for the next one, which belongs to somebody else."""
        self.pieces: deque[bytes] = deque()
        self.buffered = 0
        self._answers_head = method == b"HEAD"
        self._begun = False
        self._head_size = 0
        self._barren = 0
        """Bytes since the last piece of the body."""

    def feed(self, data: bytes) -> None:
        """Parse what the hub sent. Raises InvalidAnswer while the answer is incomplete; later bytes are only `surplus`."""
        if not self._begun:
            self._begun = True
            if self._plain is not None and not self._answers_head and self._take_plain(self._plain, data):
                return
        before = self.buffered
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.upgraded = data[upgrade.args[0] :] if upgrade.args else b""
            self.complete = self.head_complete = True
        except httptools.HttpParserError:
            if not self.complete:
                raise InvalidAnswer from None
            self.surplus = True
        if self.buffered != before:
            self._barren = 0
        elif not self.complete:
            # A field that never ends, of the head or of the trailer, is gathered inside llhttp, where `on_header` cannot count it.
            self._barren += len(data)
            if self._barren > LONGEST_HEAD:
                raise InvalidAnswer

    def _take_plain(self, plain: PlainReader, data: bytes) -> bool:
        answer = plain.read(data)
        if answer is None:
            return False
        self.status, self.headers = answer.status, answer.headers
        self.head_complete = self.complete = self.counted = self.keep_alive = True
        if answer.body:
            self.pieces.append(answer.body)
            self.buffered = len(answer.body)
        if answer.patience >= 0:
            self.idle_patience = answer.patience
        return True

    def take(self) -> bytes:
        """The body bytes that are here."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered = 0
        return data

    @property
    def clean(self) -> bool:
        """Whether nothing but this one answer, and all of it, was received, and the hub keeps the connection."""
        return self.complete and self.keep_alive and not self.surplus and self.upgraded is None

    # What llhttp calls; what is raised here reaches `feed` as HttpParserCallbackError

    def on_message_begin(self) -> None:
        if self.complete:
            raise InvalidAnswer

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > LONGEST_HEAD or _BAD_VALUE.search(value):
            raise InvalidAnswer
        if not self.head_complete:
            # What comes later is a trailer: it must not be merged into the head (RFC 9110 6.5.1).
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100:
            raise InvalidAnswer
        if status < 200 and status != 101:
            # Interim answers end here: 100 was never asked for, 103 is of no use to an API client.
            self.headers = []
            return
        self.status = status
        self.keep_alive = self._parser.should_keep_alive()
        for name, value in self.headers:
            lowered = name.lower()
            if lowered == b"content-length":
                self.counted = True
            elif lowered == b"transfer-encoding":
                # llhttp leaves the blanks behind a value, which are not of it (RFC 9110 5.5); behind a tab it knows no coding.
                if value.rstrip(b" ").lower() != b"chunked":
                    raise InvalidAnswer
                self.counted = True
            elif lowered == b"keep-alive" and (match := KEEP_ALIVE_TIMEOUT.search(value)):
                # Some promise for ever, in more digits than a float or even int() takes.
                self.idle_patience = max(0.0, int(match[1][:9]) - 1.0)
        self.head_complete = True
        if self._answers_head:
            # llhttp cannot know that HEAD has no body, so this parser is of no further use; what comes all the same goes nowhere.
            self.complete, self.keep_alive = True, False
            self.pieces = deque(maxlen=0)

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)
        self.buffered += len(data)

    def on_message_complete(self) -> None:
        if self.head_complete:
            self.complete = True
