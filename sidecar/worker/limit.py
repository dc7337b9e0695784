"""Limit: is there room for this request under the key's limits? Asked of the store, for limited keys only."""

from __future__ import annotations

from typing import Protocol

from sidecar.keys.record import Key
from sidecar.limits.decision import Admission, refusal, refusal_of, withdrawn
from sidecar.limits.ratelimit_headers import ratelimit_headers
from sidecar.limits.reservation import counted
from sidecar.refusals import HUB_REJECTED_CREDENTIAL, Refused
from sidecar.worker.meter import Record


class Limiting(Protocol):
    """Admits requests of limited keys over all workers and replicas."""

    async def admit(self, key: Key, request_id: str, tokens: int) -> Admission:
        """Ask for `tokens` and a place. Raises StoreUnavailable."""

    def withdraw(self, admission: Admission) -> None:
        """Take back that the request is counted. Never waits."""

    def release(self, admission: Admission, tokens: int | None, metered: int) -> None:
        """Give the place back; `tokens` were used, None when nobody knows. Never waits."""


class Limit:
    """The stage."""

    def __init__(self, limiter: Limiting) -> None:
        self._limiter = limiter

    async def admit(self, key: Key, record: Record, tokens: int) -> Admission:
        """Admit the request of `record`, which is taken for `tokens`. Raises Refused or StoreUnavailable."""
        record.reserved = tokens
        admission = await self._limiter.admit(key, record.request_id, tokens)
        if admission.shadow and not record.shadow:
            record.shadow = refusal_of(admission.shadow).code
        record.quota_period = admission.quota_period
        if not admission.allowed:
            refused = refusal(admission)
            refused.headers += tuple(ratelimit_headers(admission))
            raise refused
        return admission

    def failed(self, admission: Admission | None, record: Record, refused: Refused) -> None:
        """The request of `record` is refused after all, for another reason than a limit. Call it before `release`."""
        if admission is None:
            return
        if admission.counted is not None and (not record.hub_started or refused.refusal is HUB_REJECTED_CREDENTIAL):
            # Nothing of it was sent, or the hub let nobody in. Else an outage would spend the quotas of all who try again;
            # what fails later counts, since the hub may have worked on it.
            self._limiter.withdraw(admission)
            admission = withdrawn(admission)
        # It was admitted: its client learns what is left, as with any other answer.
        refused.headers += tuple(ratelimit_headers(admission))
        if record.ending == "complete":
            record.outcome = refused.refusal.outcome

    def unsent(self, admission: Admission | None, record: Record) -> None:
        """The client of `record` has left before anything of it was sent to the hub. Call it before `release`."""
        if admission is not None:
            self._limiter.withdraw(admission)
            # Nor has it used what it was taken for.
            record.reserved = 0

    def release(self, admission: Admission, record: Record, guess: int = 0) -> None:
        """The request of `record` is over; `guess` is what it would have been taken for, had its length been known."""
        used, left = counted(record.tokens), record.outcome == "client_closed"
        # Where the hub answered well and told no use, the estimate stands; a call that failed used nothing that is known.
        untold = record.usage_source == "none" and (left or record.outcome == "ok") and record.reserved > 0
        # Who leaves in mid-answer has seen more than what was told first: Anthropic's streams begin with an output of next to none.
        half_told = record.usage_source == "partial" and left and used < max(record.reserved, guess)
        # None is what was reserved.
        estimate = guess if guess > record.reserved else None
        self._limiter.release(admission, estimate if untold or half_told else used, used)


def header_lines(admission: Admission) -> bytes:
    """The rate-limit fields of an answer, as header lines."""
    return "".join([f"{name}: {value}\r\n" for name, value in ratelimit_headers(admission)]).encode()
