"""Heads that came before: clients repeat theirs, but for the key and the length, so parsing one is parsing all.

A form is a head without the values of a plain `Authorization: Bearer …` and a plain `Content-Length: …`.
What the strict reader made of it holds for every head of that form; what varies is checked each time.
"""

from __future__ import annotations

import re

from sidecar.settings.declaration import Bounds
from sidecar.worker.client.head import HeadReader
from sidecar.worker.client.request_head import NEVER_REMEMBERED, Field, RequestHead

# The two values are as narrow here as where they are judged: whatever else they may be, the strict reader sees the whole head.
_VARYING = re.compile(
    rb"\r\n(?:[Aa]uthorization: [Bb]earer ([!-+\--~]{1,512})|[Cc]ontent-[Ll]ength: (\d{1,18}))(?=\r\n)",
)
_MOST_FORMS = 512
_LONGEST_FORM = 2048
_MOST_SEEN = 4096
_AUTHORIZATION = b"authorization"

Key = tuple[bytes | bool, ...]


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
        token: bytes | None
        digits: bytes | None
        if len(parts) == 7:
            begin, token, digits, middle, token_too, digits_too, end = parts
            key: Key = (begin, middle, end, token is None)
            if (token is None) == (token_too is None):
                return self._reader.parse(head)
            token, digits = token or token_too, digits or digits_too
        elif len(parts) == 4:
            begin, token, digits, end = parts
            key = (begin, end, token is None)
        else:
            return self._reader.parse(head)
        form = self._forms.get(key)
        if form is None:
            return self._meet(key, head, token)
        length = int(digits) if digits is not None else form.content_length
        if len(head) > self._bounds.headers or (length is not None and length > self._bounds.body):
            # Too much, as the strict reader will say.
            return self._reader.parse(head)
        return _fill(form, length, token)

    def _meet(self, key: Key, head: bytes, token: bytes | None) -> RequestHead:
        """Parse the head of a form that is not known; remember the form when it comes for the second time."""
        parsed = self._reader.parse(head)
        seen = hash(key)
        if seen not in self._seen:
            # Most forms that come once never come again: a trace id or a retry count is in them.
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.add(seen)
        elif len(head) <= _LONGEST_FORM and _is_free_of_secrets(parsed, token):
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            self._forms[key] = _emptied(parsed)
        return parsed


def _fill(form: RequestHead, length: int | None, token: bytes | None) -> RequestHead:
    read = form.read
    if token is not None:
        read = read.copy()
        read[_AUTHORIZATION] = [b"Bearer " + token]
    return RequestHead(
        form.method, form.target, form.minor_version, form.fields, form.host, length, form.chunked, form.keep_alive,
        form.expects_continue, form.nominated, form.upgrade, read, token, form.notes,
    )  # fmt: skip


def _is_free_of_secrets(head: RequestHead, token: bytes | None) -> bool:
    """Whether nothing that a form keeps is a secret: the one credential is the token, which it does not keep."""
    secrets = [field.name for field in head.fields if field.name in NEVER_REMEMBERED]
    return secrets == ([] if token is None else [_AUTHORIZATION])


def _emptied(head: RequestHead) -> RequestHead:
    """`head` without what varies."""
    fields = [field if field.name not in NEVER_REMEMBERED else Field(field.name, b"", b"", True) for field in head.fields]
    read = {name: values for name, values in head.read.items() if name != _AUTHORIZATION}
    return RequestHead(
        head.method, head.target, head.minor_version, fields, head.host, head.content_length, head.chunked, head.keep_alive,
        head.expects_continue, head.nominated, head.upgrade, read, None, head.notes,
    )  # fmt: skip
