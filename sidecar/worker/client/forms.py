"""Heads that came before: clients repeat theirs, but for a few values, so parsing one is parsing all.

A form is a head without the plain values of the fields that differ from request to request. What the strict
reader made of it holds for every head of that form; what varies is checked each time. Beside the key and the
length only fields vary that no hub gets as they were sent, so nothing is worked out from them but by their readers.
"""

from __future__ import annotations

import re

from sidecar.settings.declaration import Bounds
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.request_head import NEVER_REMEMBERED, READ, Field, RequestHead

# The values are as narrow here as where they are judged: whatever else they may be, the strict reader sees the whole head.
_VARYING = re.compile(
    rb"\r\n(?:[Aa]uthorization: [Bb]earer ([!-+\--~]{1,512})|[Cc]ontent-[Ll]ength: (\d{1,18})"
    rb"|[Xx]-[Ff]orwarded-[Ff]or: ([0-9A-Fa-f.:](?:[0-9A-Fa-f.:, ]{0,200}[0-9A-Fa-f.:])?)"
    rb"|[Tt]raceparent: ([0-9a-f-]{1,64})|[Xx]-[Rr]equest-[Ii][Dd]: ([!-~]{1,128}))(?=\r\n)",
)
_NAMES = (b"authorization", b"content-length", b"x-forwarded-for", b"traceparent", b"x-request-id")
_TOKEN, _LENGTH, _FORWARDED, _TRACE = range(4)
_KINDS = len(_NAMES)
_MOST_FORMS = 512
_LONGEST_FORM = 2048
_MOST_SEEN = 4096

Key = tuple[bytes | None, ...]
Values = list[bytes | None]
"""What varies, by the place of its name in `_NAMES`."""


class Forms:
    """Reads heads for one worker."""

    def __init__(self, reader: HeadReader, bounds: Bounds) -> None:
        self._reader = reader
        self._bounds = bounds
        self._forms: dict[Key, RequestHead] = {}
        self._seen: set[int] = set()

    def parse(self, head: bytes) -> RequestHead:
        """As HeadReader.parse."""
        parts = _VARYING.split(head)
        values = _take(parts)
        if values is None:
            return self._reader.parse(head)
        key = tuple(parts)
        form = self._forms.get(key)
        if form is None:
            return self._reader.parse(head) if len(parts) == 1 else self._meet(key, head, values)
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
            self._forms[key] = _emptied(parsed, values)
        return parsed


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
    if token is not None or forwarded is not None or trace is not None:
        read = read.copy()
        if token is not None:
            read[b"authorization"] = [b"Bearer " + token]
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
