"""Which limits hold where the end of an answer is not seen: those that are settled at admission. Pure, but for one log line a key.

`rpm` and a quota of requests hold as on the data plane. `tpm` holds by estimate: what each request is taken for
stays counted. A place among `max_concurrency` would be given back at once, and a quota of tokens would
never be told what was used: both are left out, and the operator is told.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from sidecar.keys.record import Key

_log = logging.getLogger(__name__)

MOST_REMEMBERED = 10_000


class Countable:
    """Leaves out of keys what cannot be counted; hands out one object for as long as a key does not change."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Key, Key]] = {}

    def of(self, key: Key) -> Key:
        """`key` with the limits that can hold."""
        seen = self._seen.get(key.id)
        if seen is not None and seen[0] is key:
            return seen[1]
        kept = _kept(key)
        if kept != key and (seen is None or _kept(seen[0]) == seen[0]):
            _log.warning("key %s has a limit of concurrency or a quota of tokens, which the authorizer cannot enforce", key.id)
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[key.id] = (key, kept)
        return kept


def _kept(key: Key) -> Key:
    quota = key.quota
    if quota is not None and quota.tokens is not None:
        quota = replace(quota, tokens=None) if quota.requests is not None else None
    if quota is key.quota and key.limits.max_concurrency is None:
        return key
    return replace(key, quota=quota, limits=replace(key.limits, max_concurrency=None))
