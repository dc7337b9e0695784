"""One audit event, and how it is sealed into the chain. Pure.

The hash of an event is the SHA-256 of its canonical JSON: members sorted, no blanks, UTF-8, without
the member `hash` itself. It covers `prev_hash` and `sequence`, so no event can be changed, removed
or put between two others without breaking every hash after it. The form is what `jq -cS 'del(.hash)'`
prints, so an export can be checked without this program.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sidecar.keys.token import ALPHABET

GENESIS = "0" * 64
"""`prev_hash` of the first event."""

Outcome = Literal["success", "denied", "failure", "unknown"]
"""`unknown`: the sidecar or its store went away in the middle, so the act may have happened or not."""
ACTIONS = (
    "api_key.created", "api_key.imported", "api_key.updated", "api_key.enabled", "api_key.disabled", "api_key.throttled",
    "api_key.rotated", "api_key.secret_revoked", "api_key.revoked", "api_key.identified", "admin_token.created",
    "admin_token.revoked", "anomaly.acknowledged", "anomaly.muted", "session.started", "session.ended",
)  # fmt: skip
"""What people and detectors do, usually with success."""
ATTEMPTS = ("admin.authentication_failed", "admin.forbidden")
"""What is denied."""
_TOLD = f"{', '.join(f'`{action}`' for action in (*ACTIONS, *ATTEMPTS))}; `unreadable` where this version cannot tell."
INTERRUPTED = "interrupted before its result was known"
"""`reason` of what is kept of an act while nobody knows how it ends."""


class Party(msgspec.Struct, frozen=True):
    """Who acted, or what was acted on."""

    type: Annotated[str, Meta(description="admin_token, session, system, api_key, secret, anomaly or source.")]
    id: str
    name: str = ""


class Source(msgspec.Struct, frozen=True):
    """Where the act came from."""

    address: str = ""
    agent: str = ""


class Change(msgspec.Struct, frozen=True):
    """A member before and after."""

    old: Any
    new: Any


class Event(msgspec.Struct, frozen=True):
    """Who did what to what, when, from where, with which result."""

    id: str
    time: Annotated[datetime, Meta(tz=True)]
    action: Annotated[str, Meta(description=_TOLD)]
    outcome: Outcome
    actor: Party
    target: Party | None = None
    changes: dict[str, Change] = {}
    reason: str = ""
    source: Source = Source()
    request_id: str = ""
    sequence: int = 0
    """Place in the log, from 1; 0 until the event is sealed."""
    prev_hash: str = ""


def draft(
    action: str,
    actor: Party,
    *,
    now: float,
    target: Party | None = None,
    changes: Mapping[str, Change] | None = None,
    outcome: Outcome = "success",
    reason: str = "",
    source: Source | None = None,
    request_id: str = "",
) -> Event:
    """An event that is not in the log yet; `now` in Unix seconds."""
    return Event(
        id="evt_" + "".join(secrets.choice(ALPHABET) for _ in range(16)),
        time=datetime.fromtimestamp(round(now * 1000) / 1000, UTC),
        action=action,
        outcome=outcome,
        actor=actor,
        target=target,
        changes=dict(changes or {}),
        reason=reason,
        source=source or Source(),
        request_id=request_id,
    )


def canonical(event: Event) -> bytes:
    """The bytes that are hashed and stored."""
    return msgspec.json.encode(event, order="sorted")


def seal(event: Event, sequence: int, prev_hash: str) -> tuple[bytes, str]:
    """The canonical bytes and the hash of `event` as number `sequence` behind `prev_hash`."""
    data = canonical(msgspec.structs.replace(event, sequence=sequence, prev_hash=prev_hash))
    return data, digest(data)


def interrupted(event: Event) -> Event:
    """What is kept of an act before it is done."""
    return msgspec.structs.replace(event, outcome="unknown", reason=INTERRUPTED)


def is_record_of(logged: Event, kept: Event, *, completed: bool) -> bool:
    """Whether `logged`, of the log, is `kept`, of the journal, and not made up under its id.

    With `completed` an act that was kept as interrupted may have its result in the log: where the disk did not take that,
    or the process died first. Who writes in the store can then make up how such an act ended, but not who did what to which.
    """
    plain = msgspec.structs.replace(logged, sequence=0, prev_hash="")
    open_ended = (kept.outcome, kept.reason) == ("unknown", INTERRUPTED)
    if completed and open_ended and logged.outcome != "unknown" and _may_be_same(logged.target, kept.target):
        plain = msgspec.structs.replace(plain, outcome=kept.outcome, reason=kept.reason, target=kept.target, changes=kept.changes)
    return canonical(plain) == canonical(kept)


def _may_be_same(found: Party | None, before: Party | None) -> bool:
    """An act that makes something has no target before; any other has the same after it, perhaps under another name."""
    return before is None or (found is not None and (found.type, found.id) == (before.type, before.id))


def digest(data: bytes) -> str:
    """The chain's hash function, in hex."""
    return hashlib.sha256(data).hexdigest()


class Filter(msgspec.Struct, frozen=True):
    """Which events are wanted; empty members ask for all. Times are Unix seconds, half-open."""

    actor: str = ""
    action: str = ""
    target: str = ""
    outcome: str = ""
    start: float | None = None
    end: float | None = None

    def accepts(self, event: Event) -> bool:
        """Whether `event` is wanted; `action` also matches as a family (`api_key`)."""
        time = event.time.timestamp()
        return (
            self.actor in ("", event.actor.id)
            and (self.action in ("", event.action) or event.action.startswith(self.action + "."))
            and (not self.target or (event.target is not None and event.target.id == self.target))
            and self.outcome in ("", event.outcome)
            and (self.start is None or time >= self.start)
            and (self.end is None or time < self.end)
        )
