"""Idempotency-Key: a call that is repeated after a lost answer does not create or rotate twice.

The id of what is going to be made is fixed first, so even a repeat of a call that died half way works
on the same thing. The secret is not kept: a repeat that comes after the act gets the key without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from sidecar.control.admin.endpoint import Call
from sidecar.control.admin.errors import IDEMPOTENCY_CONFLICT, AdminError
from sidecar.control.audit import Unchanged
from sidecar.keys.idempotency import Idempotency, IdempotencyConflict
from sidecar.keys.issue import new_id
from sidecar.keys.repository import KeyExists, SecretExists
from sidecar.store.errors import StoreUnavailable


class Repeated(Unchanged):
    """An earlier call has done this already."""


class Repeats:
    """Claims the Idempotency-Key of calls that have one."""

    def __init__(self, idempotency: Idempotency) -> None:
        self._idempotency = idempotency

    async def subject(self, call: Call[Any, Any], kind: str) -> str | None:
        """The id that the call's new key or secret must get; None without an Idempotency-Key.

        AdminError when the same Idempotency-Key came with another request, Repeated when that one is known to be done.
        """
        if not call.idempotency_key:
            return None
        # The same request is the same operation on the same target with the same body, however that was written.
        body = msgspec.json.encode(msgspec.json.decode(call.raw or b"{}"), order="deterministic")
        target = "\n".join((call.operation, *sorted(call.path.values()), "")).encode()
        try:
            claim = await self._idempotency.claim(
                call.actor.id, call.idempotency_key, target + body, new_id(kind), as_written=target + call.raw
            )
        except IdempotencyConflict:
            raise AdminError(IDEMPOTENCY_CONFLICT, param="Idempotency-Key") from None
        if claim.made:
            raise Repeated
        return claim.subject

    async def made(self, call: Call[Any, Any], subject: str | None) -> None:
        """Remember that `subject` is made. Without that a repeat still finds it, for as long as the key has it."""
        if subject is not None:
            # Whoever waits for the secret is shown it all the same.
            with suppress(StoreUnavailable):
                await self._idempotency.made(call.actor.id, call.idempotency_key, subject)


@contextmanager
def repeats() -> Iterator[None]:
    """Turn what the repository says of a repeat into `Repeated`."""
    try:
        yield
    except (KeyExists, SecretExists):
        raise Repeated from None
