"""Where whoever revokes notes it outside the store; see `sidecar.keys.tombstones`."""

from __future__ import annotations

import logging
from typing import Protocol

log = logging.getLogger(__name__)


class Tombstones(Protocol):
    """Remembers revocations outside the store."""

    def add(self, revoked_id: str, now: float) -> None:
        """Remember that the key or admin token is revoked; raises OSError."""


def note(tombstones: Tombstones | None, revoked_id: str, now: float) -> None:
    """Remember it. A disk that does not take it takes from a revocation only that it is repeated, so it is logged."""
    try:
        if tombstones is not None:
            tombstones.add(revoked_id, now)
    except OSError as error:
        log.error("%s is revoked, but that cannot be noted beside the store: %s", revoked_id, error)
