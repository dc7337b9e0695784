"""What becomes of a key when it is created, rotated or revoked. Pure: plain values in, a new key out."""

from __future__ import annotations

import secrets as random
from collections.abc import Mapping

from msgspec.structs import replace

from sidecar.keys.digest import SHA256, Digester
from sidecar.keys.record import Key, Secret, secret_is_live
from sidecar.keys.token import ALPHABET, hint

MOST_SECRETS = 8
"""Secrets that a key remembers; beyond it the oldest dead ones are forgotten, and their digests with them."""


class TooManySecrets(Exception):
    """All secrets that a key may have are valid, so there is no room for another; `secret_id` is the old one that ends first."""

    def __init__(self, secret_id: str) -> None:
        super().__init__(f"the key has {MOST_SECRETS} valid secrets, of which {secret_id} ends first")
        self.secret_id = secret_id


def new_id(kind: str) -> str:
    """`<kind>_` and 16 random characters: about 95 bits, in no relation to any secret."""
    return f"{kind}_" + "".join(random.choice(ALPHABET) for _ in range(16))


def new_secret(token: str, digester: Digester, now: float) -> Secret:
    """The current secret that `token` opens."""
    return Secret(new_id("sec"), digester.primary(token.encode()), digester.pepper.id, hint(token), now)


def imported_secret(sha256: str, shown: str, now: float) -> Secret:
    """The current secret of an imported key, of whose token only the SHA-256 is known; `shown` is its hint."""
    return Secret(new_id("sec"), sha256, SHA256, shown, now)


def rotated(key: Key, secret: Secret, now: float, grace: float) -> Key:
    """`key` with `secret` as its current one; what opened it until now retires `grace` seconds from now, at once for 0.

    A secret that is retiring already keeps its own end if that is sooner: none outlives the grace, since the one
    that leaked may be any of them. Old secrets are remembered as revoked, so that whoever still uses one can be
    told that the key was rotated. Raises TooManySecrets rather than end one before its time.
    """
    older = tuple(_retired(one, now, grace) if secret_is_live(one, now) else _settled(one, now) for one in key.secrets)
    return replace(key, secrets=_bounded((secret, *older), now))


def without_secret(key: Key, secret_id: str, now: float) -> Key:
    """`key` with one of its retiring secrets ended now, unless it had ended before; raises KeyError when it has no such secret."""
    if not any(one.id == secret_id and one.state != "current" for one in key.secrets):
        raise KeyError(secret_id)
    secrets = (one if one.id != secret_id else _ended(one, now) if secret_is_live(one, now) else _settled(one, now) for one in key.secrets)
    return replace(key, secrets=tuple(secrets))


def with_ended(key: Key, ended: Mapping[str, float]) -> Key:
    """`key` with its living secrets of these ids ended, the current one too, each at the time given for it."""
    if not any(one.id in ended and one.state != "revoked" for one in key.secrets):
        return key
    return replace(
        key, secrets=tuple(_ended(one, ended[one.id]) if one.id in ended and one.state != "revoked" else one for one in key.secrets)
    )


def ended_secrets(before: Key, after: Key, now: float) -> list[str]:
    """Which of the secrets that opened `before` at `now` do not open `after`."""
    alive = {one.id for one in after.secrets if secret_is_live(one, now)}
    return [one.id for one in before.secrets if secret_is_live(one, now) and one.id not in alive]


def revoked(key: Key, now: float) -> Key:
    """`key`, finally revoked."""
    return replace(key, revoked_at=now)


def rehashed(key: Key, secret_id: str, digest: str, pepper_id: str) -> Key:
    """`key` with one secret known by another digest."""
    return replace(
        key, secrets=tuple(replace(one, digest=digest, pepper_id=pepper_id) if one.id == secret_id else one for one in key.secrets)
    )


def _retired(secret: Secret, now: float, grace: float) -> Secret:
    end = now + grace if secret.expires_at is None else min(secret.expires_at, now + grace)
    since = now if secret.state == "current" else secret.retired_at
    retiring = replace(secret, state="retiring", expires_at=end, retired_at=since)
    return retiring if grace > 0 else _ended(retiring, now)


def _settled(secret: Secret, now: float) -> Secret:
    return secret if secret_is_live(secret, now) else replace(secret, state="revoked")


def _ended(secret: Secret, now: float) -> Secret:
    return replace(secret, state="revoked", expires_at=now)


def _bounded(secrets: tuple[Secret, ...], now: float) -> tuple[Secret, ...]:
    # Newest first. Only the dead are forgotten, the old before the young.
    alive = [one for one in secrets if secret_is_live(one, now)]
    if len(alive) > MOST_SECRETS:
        raise TooManySecrets(min(reversed(alive[1:]), key=lambda one: one.expires_at or 0.0).id)
    dead = [one for one in secrets if not secret_is_live(one, now)]
    kept = {one.id for one in (*alive, *dead[: MOST_SECRETS - len(alive)])}
    return tuple(one for one in secrets if one.id in kept)
