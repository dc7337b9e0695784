"""Chooses how an answer's body is read, by its dialect and headers.

A reader is fed with the body exactly as the hub sends it and is asked once, at the end, what it saw. It
never raises and never alters anything: an answer that cannot be read has used an unknown amount.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from sidecar.events.record import NO_TOKENS
from sidecar.hubs.usage.dialects import DIALECTS
from sidecar.hubs.usage.documents import Usage
from sidecar.hubs.usage.frames import Document, Events, Lines, Text
from sidecar.hubs.usage.inflate import Inflater

_NOTHING = Usage(NO_TOKENS, "", "none", "")


class UsageReader(Protocol):
    """Sees an answer's body pass."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""

    def finish(self, complete: bool) -> Usage:
        """What the answer used; `complete` is False when the hub's answer broke off. To be called once."""


def open_reader(dialect: str, content_type: str, content_encoding: str) -> UsageReader:
    """A reader for a successful answer with these headers (empty when absent).

    A body that cannot be read gives a reader that sees nothing: dialect `none`, a type that is neither JSON,
    events nor (where a dialect has it) text, or a content coding other than gzip and deflate.
    """
    make = _maker(dialect, content_type)
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return make()
    return _Inflated(make(), Inflater(coding)) if coding in Inflater.CODINGS else _Blind()


@lru_cache(maxsize=512)
def _maker(name: str, content_type: str) -> Callable[[], UsageReader]:
    dialect = DIALECTS.get(name)
    if dialect is None:
        return _Blind
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return lambda: Events(dialect)
    if media_type.endswith(("ndjson", "jsonl", "json-lines")):
        return lambda: Lines(dialect)
    if media_type.endswith(("/json", "+json")) or not (media_type or dialect.text):
        return lambda: Document(dialect)
    if dialect.text and media_type in ("", "text/plain"):
        return Text
    return _Blind


class _Blind:
    """Sees nothing."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> None:
        pass

    def finish(self, complete: bool) -> Usage:  # noqa: ARG002
        return _NOTHING


class _Inflated:
    """A reader behind a content coding."""

    __slots__ = ("_inflater", "_reader")

    def __init__(self, reader: UsageReader, inflater: Inflater) -> None:
        self._reader = reader
        self._inflater = inflater

    def feed(self, chunk: bytes) -> None:
        for piece in self._inflater.pieces(chunk):
            self._reader.feed(piece)

    def finish(self, complete: bool) -> Usage:
        return self._reader.finish(complete and not self._inflater.failed)
