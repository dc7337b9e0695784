"""Repeats the revocations that a failover lost, and records that they were."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.control.audit import AuditLog, Event, Party, draft
from sidecar.keys import tombstone
from sidecar.keys.admin_tokens import PREFIX, AdminTokens
from sidecar.keys.repository import KeyRepository
from sidecar.keys.tombstone_file import TombstoneFile, reapply

ACTOR = Party("system", "failover", "revocations that the store lost")


class LostRevocations:
    """`clock` gives Unix seconds."""

    def __init__(
        self, tombstones: TombstoneFile, keys: KeyRepository, admin_tokens: AdminTokens, audit: AuditLog, clock: Callable[[], float]
    ) -> None:
        self._tombstones = tombstones
        self._keys = keys
        self._admin_tokens = admin_tokens
        self._audit = audit
        self._clock = clock

    async def repeat(self) -> None:
        """Revoke again what the store has lost. Raises StoreUnavailable; what was revoked by then is recorded."""
        again: list[str] = []
        try:
            async for one in reapply(self._tombstones, self._keys, self._admin_tokens, self._clock()):
                again.append(one)
        finally:
            # Only now: what is still open is more urgent than the record of what no longer is.
            for one in again:
                await self._audit.append(_event(one, self._clock()))


def _event(noted: str, now: float) -> Event:
    if noted.startswith(f"{PREFIX}_"):
        return draft("admin_token.revoked", ACTOR, now=now, target=Party("admin_token", noted), reason="The store had lost its revocation.")
    key_id, secret_id = tombstone.subject(noted)
    action, what = ("api_key.secret_revoked", f"the end of secret {secret_id}") if secret_id else ("api_key.revoked", "its revocation")
    return draft(action, ACTOR, now=now, target=Party("api_key", key_id), reason=f"The store had lost {what}.")
