"""Notifications on their way: Standard Webhooks messages, their signature, and when to try again. Pure.

A message has one `webhook-id` for ever, made from what it tells, so that a receiver can drop a repeat
after whatever crash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Annotated

import msgspec

from sidecar.control.anomaly.document import document, time
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.control.anomaly.record import Anomaly
from sidecar.store import names

SECRET_PREFIX = "whsec_"  # noqa: S105 - how such secrets begin
BACK_OFF = (5, 30, 120, 300, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400)
"""Seconds from each failed attempt to the next; after the last a message is given up."""


class Message(msgspec.Struct, array_like=True):
    """One notification to one receiver, which is named as `Receivers` does."""

    # Members are only added, at the end: a replica of another version may read this one's. One without a seal, with a URL for
    # its receiver, is an earlier version's.
    id: str
    receiver: str
    shard: int
    instance: str
    created_at: float
    next_at: float
    body: bytes
    attempts: Annotated[int, msgspec.Meta(ge=0)] = 0
    seal: bytes = b""
    name: bytes = b""
    """Its name in the outbox."""

    def __post_init__(self) -> None:
        self.name = self.name or f"{self.id}:{self.receiver[:12]}".encode()

    @property
    def sealed(self) -> bytes:
        """What of it no attempt changes, for its seal."""
        return msgspec.msgpack.encode((self.id, self.receiver, self.body))

    def encode(self) -> bytes:
        """Its form in the outbox."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(data: bytes, shard: int, name: bytes) -> Message | None:
        """What `encode` wrote, as it was found in the outbox; None for what cannot be read."""
        try:
            message = msgspec.msgpack.decode(data, type=Message)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        # Where it lies, not where it says: else what was put somewhere by hand would never be dropped.
        message.shard, message.name = shard, name
        return message

    def is_due(self, now: float) -> bool:
        """Whether it is time, or the clock was put back: then `next_at` is further away than this attempt is ever put off."""
        longest = BACK_OFF[min(self.attempts, len(BACK_OFF)) - 1] if self.attempts else 0
        return not now < self.next_at <= now + longest

    def postpone(self, now: float) -> bool:
        """Count a failed attempt and set the next one; False when there is none."""
        if self.attempts >= len(BACK_OFF):
            return False
        self.next_at = now + BACK_OFF[self.attempts]
        self.attempts += 1
        return True


def messages(anomaly: Anomaly, event: str, receivers: Receivers, now: float) -> list[Message]:
    """One message to each receiver, sealed, telling `event` (`warn`, `page`) of an anomaly."""
    message_id = "msg_" + hashlib.blake2b(f"{anomaly.id}|{event}".encode(), digest_size=12).hexdigest()
    body = msgspec.json.encode({"type": f"anomaly.{event}", "timestamp": time(now), "data": document(anomaly)})
    shard = names.shard_of(anomaly.key_id or anomaly.source)
    told = [Message(message_id, receiver, shard, anomaly.instance, now, now, body) for receiver in receivers.names]
    for message in told:
        message.seal = receivers.seal(message.sealed)
    return told


def headers(message: Message, secret: str, now: float) -> dict[str, str]:
    """The headers of an attempt at `now`; the signature covers id, time and body (Standard Webhooks, "Signature scheme")."""
    timestamp = str(int(now))
    signed = f"{message.id}.{timestamp}.".encode() + message.body
    signature = base64.b64encode(hmac.digest(secret_bytes(secret), signed, "sha256")).decode()
    return {
        "content-type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def secret_bytes(secret: str) -> bytes:
    """The key of the signature: base64 behind `whsec_`, else the text itself. ValueError for one that everybody knows, of no bytes."""
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("notifications.webhook_secret: what follows whsec_ is not base64") from None
    if not key:
        raise ValueError("notifications.webhook_secret: nothing follows whsec_")
    return key


def new_secret() -> str:
    """A fresh signing secret of 256 bits."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
