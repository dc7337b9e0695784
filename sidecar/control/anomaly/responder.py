"""What is done about a page: by the key's own policy, else by the configured one, which may be in shadow.

Every act is an audit event of the actor `anomaly` and can be taken back by enabling the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from sidecar.control.anomaly.detectors.baseline import LATENESS
from sidecar.control.anomaly.document import time
from sidecar.control.anomaly.record import Anomaly, Response
from sidecar.control.audit import AuditLog, Change, Party, Unchanged, Unrecordable, draft
from sidecar.keys.record import Key
from sidecar.keys.repository import KeyIsNewer, KeyIsRevoked, UnknownKey
from sidecar.settings import declaration
from sidecar.settings.declaration import OnAnomaly

ACTOR = Party("system", "anomaly", "anomaly detection")
_ACTS = ("throttle", "disable")
_NOT_THERE = "the key is gone, or its record cannot be read"
RESPONSES_KEPT = 50
"""Of an anomaly, the first one and the latest: a throttle that begins again and again for weeks must not fill its record. The audit
log has them all."""

_log = logging.getLogger(__name__)


class NotChangeable(Unchanged):
    """The key could not be changed; says why, in words for people."""


class Keys(Protocol):
    """The part of the key repository that is used."""

    async def get_many(self, key_ids: list[str]) -> list[Key | None]:
        """Each key, None for one that is not there or cannot be read."""
        ...

    async def update(self, key_id: str, change: Callable[[Key], Key], expected_revision: int | None = None) -> Key:
        """Apply a pure change."""
        ...


class Responder:
    """Acts on keys; `clock` gives Unix seconds."""

    def __init__(self, keys: Keys, audit: AuditLog, settings: declaration.Anomaly, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._audit = audit
        self._settings = settings
        self._clock = clock
        self._waiting: set[str] = set()
        """Anomalies of which the log says already that nothing can be done about them."""

    async def policy(self, anomaly: Anomaly) -> tuple[OnAnomaly, str]:
        """What a page of this subject is to do, and the key's name as it is now. Raises StoreUnavailable."""
        key = await self._read(anomaly.key_id) if anomaly.key_id else None
        if key is None:
            return self._settings.on_anomaly, anomaly.key_name
        return key.on_anomaly or self._settings.on_anomaly, key.name

    def is_due(self, anomaly: Anomaly, now: float, *, pages: bool) -> bool:
        """Whether something is to be done: nothing was yet, a throttle is over and the signals still page, or the clock that began it
        was put back since, so that it would last for as long as that was ahead."""
        # Whoever acknowledged it while others were acted on does not want it done.
        if anomaly.state != "open" or anomaly.paged_at is None or anomaly.policy not in _ACTS or not anomaly.key_id:
            return False
        if not anomaly.responses:
            # Who muted it while the act waited, for a disk or the store, has judged what had paged.
            return pages or anomaly.muted_until is None
        last = anomaly.responses[-1]
        if last.failed or last.until is None:
            return False
        return (pages and last.until <= now) or last.until > now + self._settings.throttle_for + LATENESS

    async def respond(self, anomaly: Anomaly) -> None:
        """Do what the policy says now, and note it in the anomaly; without a disk for its record it stays due. Raises StoreUnavailable."""
        key = await self._read(anomaly.key_id)
        if anomaly.state != "open":
            return
        if key is None:
            _note(anomaly, Response(_action(anomaly), False, self._clock(), failed=_NOT_THERE))
            return
        # People may have asked for less since the page, to end a throttle for good.
        anomaly.policy = key.on_anomaly or self._settings.on_anomaly
        if anomaly.policy not in _ACTS:
            return
        now = self._clock()
        action = _action(anomaly)
        if action == "throttle" and _is_taken_back(anomaly, key):
            # Without an end it is not over, and so never due again.
            anomaly.responses = [*anomaly.responses[:-1], replace(anomaly.responses[-1], until=None)]
            return
        until = now + self._settings.throttle_for if action == "throttle" else None
        response = Response(action, key.on_anomaly is None and self._settings.shadow, now, until)
        if not response.shadow:
            try:
                await self._act(key, anomaly, until)
            except NotChangeable as error:
                # Without an end: nothing runs that could be over, and tried once more it would be refused again.
                response = replace(response, until=None, failed=str(error))
            except Unrecordable as error:
                self._complain(anomaly, error)
                return
            self._waiting.discard(anomaly.id)
        what = f"{'would ' if response.shadow else ''}{action} key {key.id} for anomaly {anomaly.id}"
        _log.warning("%s: %s", what, response.failed or anomaly.summary)
        _note(anomaly, response)

    async def _read(self, key_id: str) -> Key | None:
        # Not by `get`, which takes a record that cannot be read for a store that is away: no page of any key would be told.
        return (await self._keys.get_many([key_id]))[0]

    def _complain(self, anomaly: Anomaly, error: Unrecordable) -> None:
        # No act without a record; it is due again at the next look, and said once.
        if anomaly.id not in self._waiting:
            _log.error(
                "%s key %s waits: the audit journal in data_dir cannot be written (%s)", anomaly.policy, anomaly.key_id, error.strerror
            )
        self._waiting.add(anomaly.id)

    async def _act(self, key: Key, anomaly: Anomaly, until: float | None) -> None:
        if until is not None:
            action, changes = "api_key.throttled", {"throttled_until": Change(time(key.throttled_until), time(until))}
        else:
            action, changes = "api_key.disabled", {"disabled": Change(key.disabled, True)}
        reason = f"{anomaly.id}: {anomaly.summary}"
        event = draft(action, ACTOR, now=self._clock(), target=Party("api_key", key.id, key.name), changes=changes, reason=reason)
        async with self._audit.act(event):
            # Raised inside the act: whatever else leaves it is recorded, with nobody knowing how it ended.
            try:
                if until is not None:
                    await self._keys.update(key.id, lambda known: replace(known, throttled_until=until))
                else:
                    await self._keys.update(key.id, lambda known: replace(known, disabled=True))
            except UnknownKey:
                raise NotChangeable(_NOT_THERE) from None
            except KeyIsRevoked:
                raise NotChangeable("the key is revoked") from None
            except KeyIsNewer:
                raise NotChangeable("a newer version of the sidecar has written the key; only such a one may change it") from None


def _action(anomaly: Anomaly) -> OnAnomaly:
    return "throttle" if anomaly.policy == "throttle" else "disable"


def _is_taken_back(anomaly: Anomaly, key: Key) -> bool:
    """Whether people have ended the throttle that is to begin again. One that ran out stays in the key, with its time."""
    return bool(anomaly.responses) and not anomaly.responses[-1].shadow and key.throttled_until is None


def _note(anomaly: Anomaly, response: Response) -> None:
    first, later = anomaly.responses[:1], anomaly.responses[1:]
    anomaly.responses = [*first, *later[2 - RESPONSES_KEPT :], response]
