"""Keeps a label's set of values small: the first `limit` values keep their names, later ones are `other`."""

from __future__ import annotations

OTHER = "other"
_MAX_LENGTH = 128


class Bounded:
    """Sticky: a value that has a name keeps it. Of values that only a client vouches for, `unproven` have a place.

    A value with `separator` in it has none: it would be read as two.
    """

    def __init__(self, limit: int, *, unproven: int = 0, separator: str | None = None) -> None:
        self._limit = limit
        self._unproven = unproven
        self._separator = separator
        self._known: set[str] = set()

    def name(self, value: str, *, proven: bool = True) -> str:
        """`value`, or `other` when there is no place for it."""
        if value in self._known:
            return value
        if len(self._known) >= self._limit or len(value) > _MAX_LENGTH:
            return OTHER
        if self._separator is not None and self._separator in value:
            return OTHER
        if not proven:
            if self._unproven <= 0:
                return OTHER
            self._unproven -= 1
        self._known.add(value)
        return value
