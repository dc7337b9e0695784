"""A note outside the store of every revocation of the last day, and its repetition after a failover.

Replication is asynchronous and an append-only file may lack its last second, so a server that takes
over can have lost a revocation that was reported as not `durable`, or the end of a secret. Whoever
revoked remembers it on its own disk and revokes again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from sidecar.keys import issue, tombstone
from sidecar.keys.admin_tokens import PREFIX, AdminTokens, UnknownAdminToken
from sidecar.keys.record import Key, secret_is_live
from sidecar.keys.repository import KeyIsNewer, KeyIsRevoked, KeyRepository, UnknownKey

_log = logging.getLogger(__name__)

REMEMBERED_FOR = 86_400.0
"""Seconds."""
COMPACTED_AT = 10_000
"""Lines beyond which the file is written anew, without what is older than that."""
BATCH = 100
"""Keys that are read in one trip."""

_REVOKED_AGAIN = "the store had lost the revocation of %s; it is revoked again"


class TombstoneFile:
    """One line of JSON for each revocation. Give it to the KeyRepository and the AdminTokens that revoke."""

    def __init__(self, path: Path, now: float) -> None:
        """Read `path`, if it is there, dropping what is older than a day; raises OSError when it cannot be read."""
        self._path = path
        self._revoked = {key_id: at for key_id, at in _read(path) if now - at < REMEMBERED_FOR}
        # The first note writes the file anew, which may end in half a line.
        self._lines = self._most = COMPACTED_AT

    def add(self, key_id: str, now: float) -> None:
        """Remember, on disk before this returns, that a key, one of its secrets or an admin token was revoked; raises OSError."""
        self._revoked[key_id] = now
        if self._lines >= self._most:
            self._revoked = {one: at for one, at in self._revoked.items() if now - at < REMEMBERED_FOR}
            _write(self._path, self._revoked)
            self._lines = len(self._revoked)
            # At least twice what has to stay: else a day with more revocations than that would have the file written anew for each one.
            self._most = max(COMPACTED_AT, 2 * self._lines)
            return
        try:
            _append(self._path, _line(key_id, now))
        except OSError:
            # Half a line may stand there now, and the next one behind it: neither could be read. So the next one writes all anew.
            self._lines = self._most
            raise
        self._lines += 1

    def recent(self, now: float) -> list[str]:
        """The keys, secrets (`<key>/<secret>`) and admin tokens revoked in the last day."""
        return [key_id for key_id, at in self._revoked.items() if now - at < REMEMBERED_FOR]


async def reapply(tombstones: TombstoneFile, repository: KeyRepository, admin_tokens: AdminTokens, now: float) -> AsyncIterator[str]:
    """Revoke again what the store has lost; yields each of it that was, named as in `recent`.

    To be called whenever the store may be another server than before: when a connection to it was
    lost and made anew. Raises StoreUnavailable (then call it again).
    """
    noted = tombstones.recent(now)
    async for token_id in _reapply_to_admin_tokens({one for one in noted if one.startswith(f"{PREFIX}_")}, admin_tokens):
        yield token_id
    recent = [one for one in noted if not one.startswith(f"{PREFIX}_")]
    for start in range(0, len(recent), BATCH):
        batch = recent[start : start + BATCH]
        keys = await repository.get_many([tombstone.subject(one)[0] for one in batch])
        for one, key in zip(batch, keys, strict=True):
            if _is_alive(key, one, now) and await _revoke_again(repository, one, now):
                yield one


async def _revoke_again(repository: KeyRepository, noted: str, now: float) -> bool:
    key_id, secret_id = tombstone.subject(noted)
    try:
        if secret_id:
            # The current one, too: the rotation that replaced it is lost with its end.
            await repository.update(key_id, lambda key: issue.with_ended(key, {secret_id: now}))
        else:
            # Not `revoke`, which waits for disk and replica: with many to repeat, the last one would wait for all before it.
            await repository.update(key_id, lambda key: issue.revoked(key, now))
    except KeyIsRevoked:
        return False  # somebody else was faster
    except (UnknownKey, KeyIsNewer) as error:
        _log.error("%s was revoked, the store has lost that, and it cannot be revoked again: %s", noted, error)
        return False
    _log.warning(_REVOKED_AGAIN, noted)
    return True


async def _reapply_to_admin_tokens(recent: set[str], admin_tokens: AdminTokens) -> AsyncIterator[str]:
    for token_id in await admin_tokens.living(recent) if recent else ():
        try:
            await admin_tokens.revoke(token_id)
        except UnknownAdminToken:
            continue  # somebody else was faster
        _log.warning(_REVOKED_AGAIN, token_id)
        yield token_id


def _is_alive(key: Key | None, noted: str, now: float) -> bool:
    if key is None or key.revoked_at is not None:
        return False
    secret_id = tombstone.subject(noted)[1]
    return not secret_id or any(one.id == secret_id and secret_is_live(one, now) for one in key.secrets)


def _read(path: Path) -> list[tuple[str, float]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=tuple[str, float]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # a line that a crash cut short
    return found


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, revoked: dict[str, float]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(_line(key_id, at) for key_id, at in revoked.items())
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _line(key_id: str, at: float) -> bytes:
    return msgspec.json.encode((key_id, at)) + b"\n"
