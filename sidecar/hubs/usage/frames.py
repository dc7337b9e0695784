"""Frames of an answer: one JSON document, server-sent events, JSON lines, bare text. Each keeps a bounded part of it."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from sidecar.events.record import NO_TOKENS
from sidecar.hubs.usage.dialects import Dialect
from sidecar.hubs.usage.documents import Usage
from sidecar.hubs.usage.reducer import Reducer
from sidecar.hubs.usage.tally import Tally

LARGEST_DOCUMENT = 256 << 10
"""A JSON answer up to this size is kept whole and decoded at once, a larger one is reduced as it passes."""
LARGEST_FRAME = 64 << 10
"""The same for one event or line."""
TEXT_TAIL = 2048
"""Bytes at the end of a bare text, in which its error stands if it has one."""
_BOM = b"\xef\xbb\xbf"


class Document:
    """One JSON document."""

    __slots__ = ("_chunks", "_dialect", "_reducer", "_size")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._chunks: list[bytes] = []
        self._size = 0
        self._reducer: Reducer | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._size += len(chunk)
        if self._reducer is not None:
            self._reducer.feed(chunk)
            return
        self._chunks.append(chunk)
        if self._size > LARGEST_DOCUMENT:
            self._reduce()

    def finish(self, complete: bool) -> Usage:
        """What the answer used."""
        tally = Tally()
        if not complete and self._reducer is None:
            # What was complete before the break is still the hub's word.
            self._reduce()
        document = b"".join(self._chunks) if self._reducer is None else self._reducer.document()
        if complete and (document.isspace() or not document):
            tally.error = "empty_answer"
        else:
            _read(self._dialect, document, tally)
        return tally.usage(complete)

    def _reduce(self) -> None:
        self._reducer = Reducer()
        for chunk in self._chunks:
            self._reducer.feed(chunk)
        self._chunks.clear()


class _Frames:
    """A stream of frames, each of which ends in `_END`; what of it is without a marker is never decoded."""

    _END = b"\n"

    __slots__ = ("_carry", "_dialect", "_has_frames", "_markers", "_reducer", "_tally", "_was_cr")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        # `event: error` has no quotes.
        self._markers = (*dialect.markers, b"event: error", b"event:error")
        self._tally = Tally()
        self._carry = bytearray()
        self._was_cr = False
        self._has_frames = False
        self._reducer: Reducer | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        # Here and below find, not `in`, which first takes bytes for a number: for a small piece that costs more than the search.
        if chunk.find(b"\r") >= 0 or self._was_cr:
            chunk = self._without_cr(chunk)
        if self._reducer is not None:
            chunk = self._feed_reducer(self._reducer, chunk)
        if not self._carry and chunk.endswith(self._END):
            self._block(chunk)
            return
        # A frame's end may begin in what is carried.
        seen = max(len(self._carry) - len(self._END) + 1, 0)
        self._carry += chunk
        end = self._carry.rfind(self._END, seen)
        if end >= 0:
            end += len(self._END)
            block = bytes(self._carry[:end])
            del self._carry[:end]
            self._block(block)
        if len(self._carry) > LARGEST_FRAME:
            self._begin_reducer()

    def finish(self, complete: bool) -> Usage:
        """What the answer used."""
        if self._reducer is not None:
            _read(self._dialect, self._reducer.document(), self._tally)
        elif self._carry:
            self._block(bytes(self._carry))
        if complete and not self._has_frames and not self._tally.error:
            self._tally.error = "empty_answer"
        return self._tally.usage(complete)

    def _without_cr(self, chunk: bytes) -> bytes:
        """`chunk` with its line ends as `\\n`; `\\r\\n` may fall into two chunks."""
        if self._was_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._was_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _block(self, block: bytes) -> None:
        """Whole frames: look for markers in all of them at once, for most have none."""
        if self._has_frames and not self._is_marked(block):
            return
        for frame in block.split(self._END):
            # The first frame tells the model.
            if not self._has_frames or self._is_marked(frame):
                self._frame(frame)

    def _is_marked(self, block: bytes) -> bool:
        for marker in self._markers:  # noqa: SIM110 - half the price of any() on the hottest line of a stream
            if block.find(marker) >= 0:
                return True
        return False

    def _frame(self, frame: bytes) -> None:
        raise NotImplementedError

    def _begin_reducer(self) -> None:
        """The frame that is carried is too large to be kept."""
        self._has_frames = True
        self._reducer = Reducer()
        rest = self._feed_reducer(self._reducer, bytes(self._carry))
        # More lines of a frame of this size are nothing that any hub sends.
        self._carry[:] = rest[-LARGEST_FRAME:]

    def _feed_reducer(self, reducer: Reducer, chunk: bytes) -> bytes:
        """Feed the large frame on; what comes behind it is returned. JSON on the wire has no line ends inside."""
        document, end, rest = chunk.partition(b"\n")
        reducer.feed(document)
        if not end:
            return b""
        _read(self._dialect, reducer.document(), self._tally)
        self._reducer = None
        return rest


class Lines(_Frames):
    """JSON lines."""

    __slots__ = ()

    def _frame(self, frame: bytes) -> None:
        if frame and not frame.isspace():
            self._has_frames = True
            _read(self._dialect, frame, self._tally)


class Events(_Frames):
    """Server-sent events, by the event stream format of the HTML standard."""

    _END = b"\n\n"

    __slots__ = ()

    def _frame(self, frame: bytes) -> None:
        name = b""
        data: list[bytes] = []
        for line in frame.removeprefix(_BOM).split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.strip()
        if not data:
            return
        self._has_frames = True
        _read(self._dialect, b"\n".join(data), self._tally)
        if name == b"error":
            self._tally.error = "error_event"

    def _begin_reducer(self) -> None:
        head, _, document = (b"\n" + self._carry.removeprefix(_BOM)).partition(b"\ndata:")
        if b"\nevent: error" in head or b"\nevent:error" in head:
            self._tally.error = "error_event"
        self._carry[:] = document
        super()._begin_reducer()


class Text:
    """Bare text, which says nothing of its use, but of a failure at its end."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._tail = (self._tail + chunk)[-TEXT_TAIL:]

    def finish(self, complete: bool) -> Usage:
        """What the answer used."""
        if complete and not self._tail:
            return Usage(NO_TOKENS, "", "none", "empty_answer")
        failed = complete and b"ERROR: " in self._tail.rstrip(b"\r\n").rpartition(b"\n")[2]
        return Usage(NO_TOKENS, "", "none", "error_text" if failed else "")


def _read(dialect: Dialect, document: bytes, tally: Tally) -> None:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            dialect.read(document, tally)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # A byte order mark, a member of another type than this dialect's, or what only some call JSON: Python's `NaN`, JavaScript's
            # half of a pair of surrogates, where a text was cut within a character. It spoils no other member.
            reducer = Reducer()
            reducer.feed(document)
            dialect.read(reducer.document(), tally)
