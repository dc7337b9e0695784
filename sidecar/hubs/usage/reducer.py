"""Cuts a JSON document of any size down to the members that the dialects read, in bounded memory, at any chunk boundary.

A 30 MB answer is a few pictures in base64 or a few million numbers, and one small `usage`. The walk skips
what is not wanted at the speed of `re`, keeps what is, and counts the elements of lists of pictures. What
comes out is a small JSON document that the same dialect reads as it would have read the large one.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from sidecar.hubs.usage.documents import FIGURES, WANTED, Tree

LARGEST_MEMBER = 16 << 10
"""Bytes of the largest member that is kept. A larger one is left out, but for an error, which counts whatever it says."""
MOST_ELEMENTS = 10_000
"""Elements of a list that are counted, such as its pictures."""

# Possessive, as in json_places: of what a repeated group may give back, re keeps a hundred bytes each time.
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_NESTED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]"]', re.DOTALL)
_SCALAR_REST = re.compile(rb"[^,\]}\s]*")
_NEXT = re.compile(rb"[^\s]")
_FIRST = re.compile(rb"[^\s\xef\xbb\xbf]")
"""Behind a byte order mark, of whatever pieces."""
_OPEN, _CLOSE, _QUOTE = b"{[", b"}]", b'"'
_BEGINNINGS = b'{["'
"""Of an error that says something."""


class Reducer:
    """Fed with a document piece by piece; `document()` is what is left of it. Garbage leaves `{}`."""

    def __init__(self, wanted: Tree = WANTED) -> None:
        self._wanted = wanted
        self._state: Literal["root", "key", "colon", "value", "element", "string", "nested", "scalar", "end"] = "root"
        self._frames: list[tuple[str, Tree | None]] = []
        """Wanted containers that are open: the name of each, and its tree; None for a list that is counted."""
        self._name = ""
        self._depth = 0
        """Open brackets of a value that is skipped or kept."""
        self._escaped = False
        self._reading_name = False
        self._kept: bytearray | None = None
        self._found: dict[str, object] = {}
        self._steps = {
            "root": self._root,
            "key": self._key,
            "colon": self._colon,
            "value": self._value,
            "element": self._element,
            "string": self._string,
            "nested": self._nested,
            "scalar": self._scalar,
            "end": self._end,
        }

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        at = 0
        while at < len(chunk):
            at = self._steps[self._state](chunk, at)

    def document(self) -> bytes:
        """The wanted members that were complete so far, as JSON."""
        return msgspec.json.encode(self._found)

    def _root(self, chunk: bytes, at: int) -> int:
        first = _FIRST.search(chunk, at)
        if first is None:
            return len(chunk)
        if first[0] == b"{":
            self._frames.append(("", self._wanted))
            self._state = "key"
        else:
            self._state = "end"
        return first.end()

    def _key(self, chunk: bytes, at: int) -> int:
        first = _NEXT.search(chunk, at)
        if first is None:
            return len(chunk)
        if first[0] == _QUOTE:
            self._kept, self._reading_name, self._state = bytearray(), True, "string"
        elif first[0] == b"}":
            self._leave()
        elif first[0] != b",":
            self._state = "end"
        return first.end()

    def _colon(self, chunk: bytes, at: int) -> int:
        first = _NEXT.search(chunk, at)
        if first is None:
            return len(chunk)
        self._state = "value" if first[0] == b":" else "end"
        return first.end()

    def _value(self, chunk: bytes, at: int) -> int:
        first = _NEXT.search(chunk, at)
        if first is None:
            return len(chunk)
        tree = self._frames[-1][1]
        wanted = tree.get(self._name) if tree is not None else None
        if isinstance(wanted, dict) and first[0] == b"{":
            # A member that is there twice: the later one counts whole, as for any decoder.
            self._here(self._frames)[self._name] = {}
            self._frames.append((self._name, wanted))
            self._state = "key"
            return first.end()
        if wanted == "count" and first[0] == b"[":
            self._frames.append((self._name, None))
            self._found_here(self._name, [])
            self._state = "element"
            return first.end()
        self._kept = bytearray() if wanted == "keep" or (wanted == "object" and first[0] == b"{") else None
        return self._begin(first)

    def _element(self, chunk: bytes, at: int) -> int:
        first = _NEXT.search(chunk, at)
        if first is None:
            return len(chunk)
        if first[0] == b"]":
            self._leave()
        elif first[0] != b",":
            elements = self._here(self._frames[:-1])[self._frames[-1][0]]
            if isinstance(elements, list) and len(elements) < MOST_ELEMENTS:
                elements.append(0)
            return self._begin(first)
        return first.end()

    def _begin(self, first: re.Match[bytes]) -> int:
        """Start to skip or keep the value whose first byte is `first`."""
        self._keep(first[0])
        if first[0] == _QUOTE:
            self._state = "string"
        elif first[0] in _OPEN:
            self._state, self._depth = "nested", 1
        else:
            self._state = "scalar"
        return first.end()

    def _string(self, chunk: bytes, at: int) -> int:
        start = at
        if self._escaped:
            self._escaped, at = False, at + 1
        match = _STRING_REST.match(chunk, at)
        at = match.end() if match is not None else at
        if at == len(chunk) or chunk[at : at + 1] != _QUOTE:
            # Either the piece ends here, or it ends in the middle of an escape.
            self._escaped = at < len(chunk)
            self._keep(chunk[start:])
            return len(chunk)
        self._keep(chunk[start:at] if self._reading_name else chunk[start : at + 1])
        if self._reading_name:
            self._take_name()
        elif self._depth:
            self._state = "nested"
        else:
            self._done()
        return at + 1

    def _nested(self, chunk: bytes, at: int) -> int:
        for match in _NESTED.finditer(chunk, at):
            token = match[0]
            if token in _OPEN:
                self._depth += 1
            elif token in _CLOSE:
                self._depth -= 1
                if not self._depth:
                    self._keep(chunk[at : match.end()])
                    self._done()
                    return match.end()
            elif token == _QUOTE:
                # A string that goes on in the next piece.
                self._keep(chunk[at : match.end()])
                self._state = "string"
                return match.end()
        self._keep(chunk[at:])
        return len(chunk)

    def _scalar(self, chunk: bytes, at: int) -> int:
        match = _SCALAR_REST.match(chunk, at)
        end = match.end() if match is not None else at
        self._keep(chunk[at:end])
        if end < len(chunk):
            self._done()
        return end

    def _end(self, chunk: bytes, _: int) -> int:
        return len(chunk)

    def _keep(self, piece: bytes) -> None:
        # One byte more than fits is enough to tell that a member is too large.
        if self._kept is not None and len(self._kept) <= LARGEST_MEMBER:
            self._kept += piece[: LARGEST_MEMBER + 1]

    def _take_name(self) -> None:
        raw, self._kept, self._reading_name = bytes(self._kept or b""), None, False
        try:
            self._name = msgspec.json.decode(b'"%b"' % raw[:LARGEST_MEMBER], type=str) if b"\\" in raw else raw.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._name = ""
        self._state = "colon"

    def _done(self) -> None:
        """A value has ended."""
        kept, self._kept = self._kept, None
        self._state = "element" if self._frames[-1][1] is None else "key"
        if kept is None:
            return
        is_whole = len(kept) <= LARGEST_MEMBER
        if is_whole and _is_json(kept):
            self._found_here(self._name, msgspec.Raw(bytes(kept)))
        elif self._name == "error" and kept[0] in _BEGINNINGS:
            # Whatever it says.
            self._found_here(self._name, True)
        elif is_whole and self._name == "usage":
            # Only some call it JSON: a figure that is garbage spoils no other.
            figures = Reducer(FIGURES)
            figures.feed(bytes(kept))
            self._found_here(self._name, msgspec.Raw(figures.document()))

    def _leave(self) -> None:
        self._frames.pop()
        if not self._frames:
            self._state = "end"
        else:
            self._state = "element" if self._frames[-1][1] is None else "key"

    def _found_here(self, name: str, value: object) -> None:
        self._here(self._frames if not isinstance(value, list) else self._frames[:-1])[name] = value

    def _here(self, frames: list[tuple[str, Tree | None]]) -> dict[str, object]:
        """The object of what was found that stands for the innermost of `frames`."""
        here = self._found
        for name, _ in frames[1:]:
            inner = here.setdefault(name, {})
            assert isinstance(inner, dict)
            here = inner
        return here


def _is_json(text: bytearray) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
