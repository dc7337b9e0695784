"""Finds the text at given places of a JSON body, with its byte spans, and refuses a body that can be read two ways. Pure.

This scanner adds to validity (`json_objects`) what no decoder tells: where a value stands, and whether a member
on the way to it is there twice. Names are compared without case, as Go's decoder does:
`{"model": "allowed", "Model": "other"}` means `other` to a hub written in Go. And `{"Model": "allowed"}`
names a model to such a hub alone, so what is found by another spelling than the place's is refused.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from sidecar.hubs.json_objects import readable
from sidecar.refusals import BAD_BODY, Refused

MAX_TOKENS = 1_000_000
"""Strings and brackets that are walked over, about 0.2 s: beyond it a body is refused instead of holding up the worker."""

MEMBER = 10
"""Tokens that a member on the way counts for: it is looked at by itself, what is skipped goes by at the speed of `re`."""
MAX_NAMES = 1000
"""Models that a body may name: each is compared with a key's list, and has its prefix cut off."""

# Possessive: of what a repeated group may give back, re keeps a hundred bytes each time. Before Python 3.11.5 such a group also
# takes what a last, failing round has passed (gh-106052), unless that fails at single characters as here.
_STRING_PATTERN = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING = re.compile(_STRING_PATTERN, re.DOTALL)
_TOKEN = re.compile(_STRING_PATTERN + rb"|[{}\[\]]", re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,?[ \t\r\n]*")
_SCALAR = re.compile(rb"[^ \t\r\n,\]}]+")
_QUOTE, _OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_LIST, _CLOSE_LIST = b'"{}[]'
_LONGEST_WRITTEN = 12
"""Bytes of one character of a name in JSON, as two escapes."""
_ABSENT = msgspec.Raw()
_decode_text = msgspec.json.Decoder(str).decode
_FOLDS_TO_ASCII = (b"\xc5\xbf", b"\xe2\x84\xaa")
"""UTF-8 of the two letters beyond ASCII that fold to s and k."""


class Text(NamedTuple):
    """A string found at a place; `body[start:end]` is its token, quotes included."""

    value: str
    start: int
    end: int
    is_main: bool
    """Whether it stands at a main place, which no list led to."""


class _Node:
    """A member on the way to a place; `wanted` when a place ends here. `children` go by name without case."""

    __slots__ = ("children", "is_main", "spellings", "wanted")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.spellings: set[str] = set()
        self.wanted = False
        self.is_main = False


class JsonPlaces:
    """Places such as `input.modelOptions.model`, compiled once; `main` are those of them that name the request's own model."""

    def __init__(self, places: tuple[str, ...], main: tuple[str, ...] = ()) -> None:
        self._root = _Node()
        self._paths = [tuple(place.split(".")) for place in places]
        for path in self._paths:
            node = self._root
            for name in path:
                node = node.children.setdefault(name.casefold(), _Node())
                node.spellings.add(name)
            node.wanted = True
            node.is_main = node.is_main or ".".join(path) in main
        # Folding makes no name shorter.
        self._longest = 2 + _LONGEST_WRITTEN * max((len(name.casefold()) for path in self._paths for name in path), default=0)
        self._main = main
        self._main_paths = [path for path in self._paths if ".".join(path) in main]
        self._decoders = {name: _member_decoder(name) for path in self._paths for name in path}
        self._tokens = tuple({_token_of(name) for path in self._paths for name in path})
        self._leaves = tuple({_token_of(path[-1]) for path in self._paths})

    def find(self, body: bytes) -> list[Text]:
        """Every string at a place of `body`, in order; a place may hold a string, null, or a list of strings.

        The way to a place may lead through lists of objects, each of which is looked at. Raises
        Refused(BAD_BODY) for what is no JSON object in UTF-8, for a member that is there twice on the
        way to a place, for one whose spelling differs in case, and for a place that holds anything else.
        """
        as_readable = readable(body)
        only = self._find_only(body)
        return [only] if only is not None else _Scan(body, as_readable, self._longest).find(self._root)

    def peek(self, body: bytes) -> str:
        """The string at the first main place that holds one, else the empty string. Judges nothing and never raises."""
        for path in self._main_paths:
            value = self._value(body, path)
            if value is not None:
                return value
        return ""

    def _value(self, body: bytes, path: tuple[str, ...]) -> str | None:
        part: bytes | msgspec.Raw = body
        try:
            for name in path:
                part = self._decoders[name].decode(part).value
                if part is _ABSENT:
                    return None
            return _decode_text(part)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def _find_only(self, body: bytes) -> Text | None:
        """The usual body: each name on the way is there once, in plain letters, so there is nothing else to be read instead.

        None when that is not so, and the scan has to tell.
        """
        lowered = body.lower()
        if b"\\u" in lowered or any(letter in body for letter in _FOLDS_TO_ASCII):
            return None
        if sum(map(lowered.count, self._leaves)) != 1 or any(lowered.count(token) > 1 for token in self._tokens):
            return None
        leaf = next(leaf for leaf in self._leaves if leaf in lowered)
        for path in self._paths:
            if _token_of(path[-1]) == leaf and (value := self._value(body, path)) is not None:
                colon = _COLON.match(body, lowered.index(leaf) + len(leaf))
                token = _STRING.match(body, colon.end()) if colon else None
                return Text(value, token.start(), token.end(), ".".join(path) in self._main) if token else None
        return None


class _Scan:
    """One walk over a body that msgspec found valid, so every pattern that is asked for is there."""

    def __init__(self, written: bytes, body: bytes, longest: int) -> None:
        """`body` is what `readable` made of `written`; `longest` the length of the longest token of a name on the way to a place."""
        self._written = written
        self._body = body
        self._longest = longest
        self._tokens = 0
        self._found: list[Text] = []

    def find(self, root: _Node) -> list[Text]:
        self._object(_skip_space(self._body, 0), root, True, True)
        return self._found

    def _object(self, start: int, node: _Node, is_alone: bool, is_exact: bool) -> int:
        """Walk the object at `start`; the position behind it.

        `is_alone` while no list led here, `is_exact` while every name on the way was spelt as in the place.
        """
        body, seen = self._body, set()
        at = _skip_space(body, start + 1)
        while body[at] != _CLOSE_OBJECT:
            self._count(MEMBER)
            token = self._string(at)
            # What is too long is not even decoded: to fold a text that is not ASCII takes twelve times its place.
            spelling = _text(body[at:token]) if token - at <= self._longest else ""
            name = spelling.casefold()
            at = _end(_COLON, body, token)
            child = node.children.get(name)
            if child is not None:
                if name in seen:
                    raise Refused(BAD_BODY, f"The request body has the member {name!r} twice.", param=name)
                seen.add(name)
            at = self._skip(at) if child is None else self._place(at, child, name, is_alone, is_exact and spelling in child.spellings)
            at = _end(_COMMA, body, at)
        return at + 1

    def _place(self, at: int, node: _Node, name: str, is_alone: bool, is_exact: bool) -> int:
        body = self._body
        if node.children and not node.wanted:
            if body[at] == _OPEN_OBJECT:
                return self._object(at, node, is_alone, is_exact)
            if body[at] == _OPEN_LIST:
                return self._members(at, node, is_exact)
        end = self._skip(at)
        if not node.wanted or body[at:end] == b"null":
            return end
        if not is_exact:
            raise Refused(BAD_BODY, f"The member {name!r}, or one that it stands in, is not spelt in the hub's own capitals.", param=name)
        is_main = is_alone and node.is_main
        if body[at] == _QUOTE:
            self._take(at, end, name, is_main)
        elif body[at] == _OPEN_LIST:
            self._list(at, name, is_main)
        else:
            raise Refused(BAD_BODY, f"The member {name!r} must be a string.", param=name)
        return end

    def _take(self, start: int, end: int, name: str, is_main: bool) -> None:
        if len(self._found) >= MAX_NAMES:
            raise Refused(BAD_BODY, f"The member {name!r} has too many models to be checked.", param=name)
        try:
            value = _text(self._written[start:end])
        except msgspec.DecodeError as error:
            raise Refused(BAD_BODY, f"The member {name!r} has half of a pair of surrogates, which is no text.", param=name) from error
        self._found.append(Text(value, start, end, is_main))

    def _members(self, start: int, node: _Node, is_exact: bool) -> int:
        """Walk the objects of the list at `start`; the position behind it."""
        body = self._body
        at = _skip_space(body, start + 1)
        while body[at] != _CLOSE_LIST:
            self._count()
            at = self._object(at, node, False, is_exact) if body[at] == _OPEN_OBJECT else self._skip(at)
            at = _end(_COMMA, body, at)
        return at + 1

    def _list(self, start: int, name: str, is_main: bool) -> None:
        body = self._body
        at = _skip_space(body, start + 1)
        while body[at] != _CLOSE_LIST:
            if body[at] != _QUOTE:
                raise Refused(BAD_BODY, f"The member {name!r} must be a string, or a list of nothing but strings.", param=name)
            end = self._string(at)
            self._take(at, end, name, is_main)
            at = _end(_COMMA, body, end)

    def _skip(self, at: int) -> int:
        """The position behind the value at `at`."""
        first = self._body[at]
        if first == _QUOTE:
            return self._string(at)
        if first not in (_OPEN_OBJECT, _OPEN_LIST):
            return _end(_SCALAR, self._body, at)
        depth = 0
        for token in _TOKEN.finditer(self._body, at):
            self._count()
            bracket = self._body[token.start()]
            if bracket in (_OPEN_OBJECT, _OPEN_LIST):
                depth += 1
            elif bracket != _QUOTE:
                depth -= 1
                if not depth:
                    return token.end()
        raise AssertionError("a valid document closes what it opens")

    def _string(self, at: int) -> int:
        self._count()
        return _end(_STRING, self._body, at)

    def _count(self, tokens: int = 1) -> None:
        self._tokens += tokens
        if self._tokens > MAX_TOKENS:
            raise Refused(BAD_BODY, "The request body has too many members to be checked.")


def _member_decoder(name: str) -> msgspec.json.Decoder[Any]:
    """Reads the one member `name` of an object, unread, as `value`."""
    return msgspec.json.Decoder(msgspec.defstruct("Member", [("value", msgspec.Raw, _ABSENT)], rename={"value": name}))


def _token_of(name: str) -> bytes:
    return f'"{name.casefold()}"'.encode()


def _text(token: bytes) -> str:
    return _decode_text(token)


def _skip_space(body: bytes, at: int) -> int:
    return _end(_SPACE, body, at)


def _end(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    match = pattern.match(body, at)
    assert match is not None, "the document is valid"
    return match.end()
