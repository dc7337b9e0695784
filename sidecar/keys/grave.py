"""Where whoever ends a key or a secret of one notes it outside the store; see `sidecar.keys.tombstones`."""

from __future__ import annotations

import logging
from typing import Protocol

from sidecar.keys import issue
from sidecar.keys.record import Key

log = logging.getLogger(__name__)


class Tombstones(Protocol):
    """Remembers revocations outside the store."""

    def add(self, revoked_id: str, now: float) -> None:
        """Remember that the key, secret or admin token is revoked; raises OSError."""


def note(tombstones: Tombstones | None, revoked_id: str, now: float) -> None:
    """Remember it. A disk that does not take it takes from a revocation only that it is repeated, so it is logged."""
    try:
        if tombstones is not None:
            tombstones.add(revoked_id, now)
    except OSError as error:
        log.error("%s is revoked, but that cannot be noted beside the store: %s", revoked_id, error)


def note_ended(tombstones: Tombstones | None, before: Key, after: Key, now: float) -> None:
    """Remember the secrets that a change of `before` to `after` has ended at once."""
    if tombstones is not None:
        for secret_id in issue.ended_secrets(before, after, now):
            note(tombstones, of_secret(after.id, secret_id), now)


def of_secret(key_id: str, secret_id: str) -> str:
    """What a key's secret is noted as; an earlier version takes it for a key that it does not find."""
    return f"{key_id}/{secret_id}"


def subject(noted: str) -> tuple[str, str]:
    """The key that is noted, and the secret of it; empty where it is the key itself."""
    key_id, _, secret_id = noted.partition("/")
    return key_id, secret_id
