"""Request heads that came before: clients repeat theirs but for a few values, so parsing one of them is parsing all.

A form is a head without the values of those fields that differ from request to request. What the strict reader made of
one head holds for every head of the same form; the values that vary are checked each time. They are the key, the length,
and fields that no hub gets as they were sent: nothing else of a form depends on them.
"""

from __future__ import annotations

import re

from sidecar.settings.declaration import Bounds
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.request_head import NEVER_REMEMBERED, READ, Field, RequestHead

# The values are as narrow here as where they are judged: whatever else they may be, the strict reader sees the whole head.
_VALUES = (
    rb"[!-+\--~]{1,512}",
    rb"\d{1,18}",
    rb"[0-9A-Fa-f.:](?:[0-9A-Fa-f.:, ]{0,200}[0-9A-Fa-f.:])?",
    rb"[0-9a-f-]{1,64}",
    rb"[!-~]{1,128}",
)
_VARYING = re.compile(
    rb"\r\n(?:[Aa]uthorization: [Bb]earer (%b)|[Cc]ontent-[Ll]ength: (%b)|[Xx]-[Ff]orwarded-[Ff]or: (%b)"
    rb"|[Tt]raceparent: (%b)|[Xx]-[Rr]equest-[Ii][Dd]: (%b))(?=\r\n)" % _VALUES
)
_PLAIN = [re.compile(value) for value in _VALUES]
_TOKEN_LETTERS = bytes(letter for letter in range(256) if _PLAIN[0].fullmatch(bytes([letter])))
_LONGEST_TOKEN = 512
_NAMES = (b"authorization", b"content-length", b"x-forwarded-for", b"traceparent", b"x-request-id")
_TOKEN, _LENGTH, _FORWARDED, _TRACE = range(4)
_KINDS = len(_NAMES)
_MOST_FORMS = 512
_LONGEST_FORM = 2048
_MOST_SEEN = 4096

Key = tuple[bytes | None, ...]
Values = list[bytes | None]
"""What varies, by the place of its name in `_NAMES`."""


class KnownHeads:
    """Reads heads for one worker, from memory where one of the same form came before."""

    def __init__(self, reader: HeadReader, bounds: Bounds) -> None:
        self._reader = reader
        self._bounds = bounds
        self._forms: dict[Key, RequestHead] = {}
        self._seen: set[int] = set()

    def parse(self, head: bytes, layout: object = None) -> RequestHead:
        """As HeadReader.parse. `layout` is that of the connection's last head (`notes.layout`), which usually fits again."""
        if isinstance(layout, Layout) and (same := layout.values(head)) is not None:
            return self._filled(layout.form, head, same)
        parts = _VARYING.split(head)
        values = _take(parts)
        if values is None:
            return self._reader.parse(head)
        key = tuple(parts)
        form = self._forms.get(key)
        if form is None:
            return self._reader.parse(head) if len(parts) == 1 else self._meet(key, head, values)
        return self._filled(form, head, values)

    def _filled(self, form: RequestHead, head: bytes, values: Values) -> RequestHead:
        digits = values[_LENGTH]
        length = int(digits) if digits is not None else form.content_length
        if len(head) > self._bounds.headers or (length is not None and length > self._bounds.body):
            # Too much, as the strict reader will say.
            return self._reader.parse(head)
        return _fill(form, length, values)

    def _meet(self, key: Key, head: bytes, values: Values) -> RequestHead:
        """Parse the head of a form that is not known; remember the form when it comes for the second time."""
        parsed = self._reader.parse(head)
        seen = hash(key)
        if seen not in self._seen:
            # Most forms that come once never come again: a retry count or a cookie is in them.
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.add(seen)
        elif len(head) <= _LONGEST_FORM and _is_form(parsed, values):
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            form = self._forms[key] = _emptied(parsed, values)
            form.notes.layout = Layout(form, head)
        return parsed


class Layout:
    """How a client writes the heads of `form`: the text around the values that vary, of which none is kept."""

    __slots__ = ("_begin", "_places", "form")

    def __init__(self, form: RequestHead, head: bytes) -> None:
        """`head` is one of them."""
        self.form = form
        self._places: list[tuple[int, re.Pattern[bytes], bytes]] = []
        """Of each value: its place in `_NAMES`, what it may be, and the text behind it."""
        spans = [(match.lastindex or 0, match.span(match.lastindex or 0)) for match in _VARYING.finditer(head)]
        self._begin = head[: spans[0][1][0]]
        """What stands before the first value."""
        ends = [start for _, (start, _) in spans[1:]] + [len(head)]
        for (group, (_, end)), next_start in zip(spans, ends, strict=True):
            self._places.append((group - 1, _PLAIN[group - 1], head[end:next_start]))

    def values(self, head: bytes) -> Values | None:
        """What varies in `head`, exactly as a search of all of it finds it; None when it is written in any other way."""
        begin = self._begin
        if not head.startswith(begin):
            return None
        values: Values = [None] * _KINDS
        at = len(begin)
        for kind, plain, behind in self._places:
            end = head.find(b"\r", at)
            value = head[at:end]
            if not head.startswith(behind, end):
                return None
            if kind == _TOKEN:
                # A third of the price of the pattern, which is the dearest of all: most of a head that varies is its token.
                if not value or len(value) > _LONGEST_TOKEN or value.translate(None, _TOKEN_LETTERS):
                    return None
            elif plain.fullmatch(value) is None:
                return None
            values[kind] = value
            at = end + len(behind)
        return values if at == len(head) else None


def _take(parts: list[bytes | None]) -> Values | None:
    """Take out of `parts` what varies; None when a field came twice."""
    if len(parts) == 13 and parts[1] is not None and parts[8] is not None:
        # What most clients send: the key, then the length.
        values: Values = [parts[1], parts[8], None, None, None]
        parts[1] = parts[8] = b""
        return values
    values = [None] * _KINDS
    for at in range(1, len(parts), _KINDS + 1):
        kind = 0
        while parts[at + kind] is None:
            kind += 1
        if values[kind] is not None:
            return None
        values[kind] = parts[at + kind]
        parts[at + kind] = b""
    return values


def _fill(form: RequestHead, length: int | None, values: Values) -> RequestHead:
    token, forwarded, trace = values[_TOKEN], values[_FORWARDED], values[_TRACE]
    read = form.read
    if forwarded is not None or trace is not None:
        read = read.copy()
        if forwarded is not None:
            read[b"x-forwarded-for"] = [forwarded]
        if trace is not None:
            read[b"traceparent"] = [trace]
    return RequestHead(
        form.method, form.target, form.minor_version, form.fields, form.host, length, form.chunked, form.keep_alive,
        form.expects_continue, form.nominated, form.upgrade, read, token, form.notes,
    )  # fmt: skip


def _is_form(head: RequestHead, values: Values) -> bool:
    """Whether `head` without `values` holds no secret, and nothing beside them in the fields that vary."""
    names = [field.name for field in head.fields]
    if any(value is not None and names.count(name) != 1 for name, value in zip(_NAMES, values, strict=True)):
        return False
    # The one credential is the token, which a form does not keep.
    secrets = [name for name in names if name in NEVER_REMEMBERED]
    return secrets == ([] if values[_TOKEN] is None else [b"authorization"])


def _emptied(head: RequestHead, values: Values) -> RequestHead:
    """`head` without what varies."""
    varying = {name for name, value in zip(_NAMES, values, strict=True) if value is not None}
    fields = [field if field.name not in varying else Field(field.name, b"", b"", field.name in READ) for field in head.fields]
    read = {name: found for name, found in head.read.items() if name not in varying}
    return RequestHead(
        head.method, head.target, head.minor_version, fields, head.host, head.content_length, head.chunked, head.keep_alive,
        head.expects_continue, head.nominated, head.upgrade, read, None, head.notes,
    )  # fmt: skip
