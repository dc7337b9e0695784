"""Notes outside the store that a key, a secret of one or an admin token was ended; `tombstone_file` keeps and reapplies the notes."""

from __future__ import annotations

import logging
from typing import Protocol

from sidecar.keys import issue
from sidecar.keys.record import Key

_log = logging.getLogger(__name__)


class Tombstones(Protocol):
    """Remembers revocations outside the store."""

    def add(self, revoked_id: str, now: float) -> None:
        """Remember that the key, secret or admin token is revoked; raises OSError."""


def note(tombstones: Tombstones | None, revoked_id: str, now: float) -> None:
    """Note a revocation. Where the disk does not take that, it stands all the same, and only its repetition after a failover is lost:
    so this is logged, not raised."""
    try:
        if tombstones is not None:
            tombstones.add(revoked_id, now)
    except OSError as error:
        _log.error("%s is revoked, but that cannot be noted beside the store: %s", revoked_id, error)


def note_ended(tombstones: Tombstones | None, before: Key, after: Key, now: float) -> None:
    """Remember the secrets that a change of `before` to `after` has ended at once."""
    if tombstones is not None:
        for secret_id in issue.ended_secrets(before, after, now):
            note(tombstones, of_secret(after.id, secret_id), now)


def of_secret(key_id: str, secret_id: str) -> str:
    """What the end of a key's secret is noted as: `<key id>/<secret id>`. An earlier version looks for a key of that id and finds none."""
    return f"{key_id}/{secret_id}"


def subject(noted: str) -> tuple[str, str]:
    """What was noted as two ids: the key's, and the secret's, which is empty where the key itself was revoked."""
    key_id, _, secret_id = noted.partition("/")
    return key_id, secret_id
