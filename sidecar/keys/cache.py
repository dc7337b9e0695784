"""The verified keys that a worker remembers: bounded, and forgotten the moment that one changes.

Nothing here says whether the memory may be trusted; that is the lease's word.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal

from sidecar.keys.reader import Found

ABSENT_FOR = 1.0
"""Seconds for which it is remembered that a digest is unknown."""
MOST_ABSENT = 10_000
"""Unknown digests that are remembered."""


class _Miss(Enum):
    MISS = "miss"


MISS: Final = _Miss.MISS
"""The cache does not know: ask the store. (None is an answer: there is no such key.)"""

Answer = Found | None | Literal[_Miss.MISS]


class _Entry:
    __slots__ = ("found", "used")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.used = False


class KeyCache:
    """Keys by digest. Eviction gives a second chance to what was used since it last came up (CLOCK)."""

    def __init__(self, size: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._digests: dict[str, tuple[str, ...]] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        self.generation = 0
        """Changes whenever anything is forgotten: what was read under an older one may be outdated and is not kept."""
        self.counters = {"hit": 0, "miss": 0, "negative_hit": 0, "stale": 0}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._digests

    def lookup(self, digest: str) -> Answer:
        """What is remembered of `digest`."""
        entry = self._entries.get(digest)
        if entry is not None:
            entry.used = True
            self.counters["hit"] += 1
            return entry.found
        until = self._absent.get(digest)
        if until is not None and self._clock() < until:
            self.counters["negative_hit"] += 1
            return None
        self.counters["miss"] += 1
        return MISS

    def peek(self, digest: str) -> Found | None:
        """The key, for a caller that knows that it may be outdated."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        self.counters["stale"] += 1
        return entry.found

    def put(self, digest: str, found: Found | None, generation: int) -> None:
        """Remember what the store said, unless something was forgotten since `generation`, when it was asked."""
        if generation != self.generation:
            return
        if found is None:
            self._absent[digest] = self._clock() + ABSENT_FOR
            if len(self._absent) > MOST_ABSENT:
                self._absent.popitem(last=False)
            return
        key_id = found.key.id
        entry = self._entries.get(digest)
        if entry is not None and entry.found.key.id != key_id:
            # A token that its key had dropped was imported anew. Left to the old key's list, the new one could not be forgotten.
            self.forget_key(entry.found.key.id)
        if digest not in self._entries:
            self._digests[key_id] = (*self._digests.get(key_id, ()), digest)
        self._entries[digest] = _Entry(found)
        while len(self._entries) > self._size:
            self._evict_one()

    def forget_key(self, key_id: str) -> bool:
        """Forget a key that changed; whether it was remembered."""
        self.generation += 1
        # A token that is unknown by one of its digests may be known by another now; which digests are of one token nobody here can tell.
        self._absent.clear()
        digests = self._digests.pop(key_id, ())
        for digest in digests:
            del self._entries[digest]
        return bool(digests)

    def forget_digest(self, digest: str) -> None:
        """Forget what is known of a digest whose index entry changed: most often that it was unknown."""
        self.generation += 1
        self._absent.clear()
        entry = self._entries.get(digest)
        if entry is not None:
            self.forget_key(entry.found.key.id)

    def flush(self) -> None:
        """Forget everything."""
        self.generation += 1
        self._entries.clear()
        self._digests.clear()
        self._absent.clear()

    def _evict_one(self) -> None:
        while True:
            digest, entry = self._entries.popitem(last=False)
            if not entry.used:
                break
            entry.used = False
            self._entries[digest] = entry
        key_id = entry.found.key.id
        rest = tuple(one for one in self._digests[key_id] if one != digest)
        if rest:
            self._digests[key_id] = rest
        else:
            del self._digests[key_id]
