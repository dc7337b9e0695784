"""How the store fails, in our own words: redis-py's exceptions end here.

Whatever goes wrong is a `StoreUnavailable`, because an unanswered question about a key must become
a 503 and never a 401. Messages hold no command, no argument and no address with a password.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator

from redis import exceptions as redis_errors
from redis.asyncio.sentinel import MasterNotFoundError


class StoreUnavailable(Exception):
    """The store cannot answer: no connection, no answer in time, not allowed, out of memory, read-only."""


class StoreRefused(StoreUnavailable):
    """The store answered a command with an error that is not about its own health; `code` is its first word."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the key store refused a command ({code})")
        self.code = code


class StoreNotAdopted(StoreUnavailable):
    """The store is not the one whose keys this sidecar knows: its epoch or its pepper is missing or different."""


DISK_FAILED = "MISCONF"
_NO_DATABASE = "DB"
_NO_PRIMARY = "primary"
_NO_CLUSTER = "This instance has cluster support disabled"
"""What Redis and Valkey say (as ERR) to CLUSTER where there is none."""

_KNOWN = (redis_errors.RedisError, redis_errors.RedisClusterException, OSError)
_CLOSED = "closed"
"""In what uvloop says (RuntimeError) of a write to a connection that was closed a moment ago, where asyncio says nothing."""
_log = logging.getLogger(__name__)

_HEALTH = {
    "OOM": "the key store is out of memory; raise its maxmemory",
    "READONLY": "the key store is read-only; it is a replica or lost its primary",
    DISK_FAILED: "the key store cannot write to its disk; free space there, or see its log",
    "NOREPLICAS": "the key store has too few replicas to accept writes",
    "NOAUTH": "the key store wants a password; set store.password",
    "WRONGPASS": "the key store does not accept the password; set store.password",
    "NOPERM": "the key store's user lacks a permission; allow it all commands on sidecar:*",
    "LOADING": "the key store is loading its data",
    "MASTERDOWN": "the key store's primary is down",
    "CLUSTERDOWN": "the key store's cluster is down",
    "TRYAGAIN": "the key store's cluster is moving data; try again",
    "BUSY": "the key store is busy with a script",
    "MOVED": "the key store's cluster has that on another server; for a Redis Cluster write redis+cluster:// in store.url",
    # What these two say, redis-py passes on without the first word, which is ERR.
    "SELECT": "the key store has one database only; leave the number out of store.url, and for a Redis Cluster write redis+cluster://",
    _NO_DATABASE: "the key store has no database of the number in store.url; name another one, or raise its `databases`",
    _NO_CLUSTER: "the key store is no Redis Cluster; write redis:// or rediss:// in store.url",
    _NO_PRIMARY: "no sentinel names a living primary; if that lasts, see the service's name and sentinel_password in store.url",
}

_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.OutOfMemoryError, "OOM"),
    (redis_errors.ReadOnlyError, "READONLY"),
    (redis_errors.AuthenticationError, "WRONGPASS"),
    (redis_errors.NoPermissionError, "NOPERM"),
    (redis_errors.BusyLoadingError, "LOADING"),
    (redis_errors.MasterDownError, "MASTERDOWN"),
    (redis_errors.ClusterDownError, "CLUSTERDOWN"),
    (redis_errors.TryAgainError, "TRYAGAIN"),
    (redis_errors.MovedError, "MOVED"),
    (redis_errors.AskError, "TRYAGAIN"),
    (MasterNotFoundError, _NO_PRIMARY),
)

_DEEPEST = 4
"""Errors behind one another that are looked at: with a Cluster it is the third that tells."""


def is_of_disk(reply: object) -> bool:
    """Whether a server refuses, but only because its disk fails it: writes, and PING too. Reads are answered as before."""
    return isinstance(reply, redis_errors.ResponseError) and str(reply).startswith(DISK_FAILED)


def translate(error: BaseException) -> StoreUnavailable:
    """The `StoreUnavailable` that stands for whatever redis-py, the event loop or the socket raised.

    Catch `Exception` around redis-py: while servers die it fails in ways that it does not know itself, as when one
    task closes the connection that another one is greeting. Nobody who asks about a key may see that as a fault of ours.
    """
    if isinstance(error, StoreUnavailable):
        return error
    # redis-py wraps what goes wrong during the greeting.
    for found in (error, error.__cause__ or error.__context__):
        for kind, code in _CLASSES:
            if isinstance(found, kind):
                # A missing password and a wrong one are of the same class.
                said = getattr(found, "status_code", None) or ""
                return StoreUnavailable(_HEALTH.get(said, _HEALTH[code]))
    if any(isinstance(found, redis_errors.ResponseError) and str(found) == _NO_CLUSTER for found in _behind(error)):
        return StoreUnavailable(_HEALTH[_NO_CLUSTER])
    if isinstance(error, redis_errors.ResponseError):
        code = str(error).partition(" ")[0][:32]
        return StoreUnavailable(_HEALTH[code]) if code in _HEALTH else StoreRefused(code if code.isalpha() else "ERR")
    if isinstance(error, (asyncio.TimeoutError, redis_errors.TimeoutError)):
        return StoreUnavailable("the key store did not answer in time")
    if refusal := _refusal_of_tls(error):
        return StoreUnavailable(refusal)
    closed = isinstance(error, RuntimeError) and _CLOSED in str(error)
    if not closed and not isinstance(error, _KNOWN):
        _log.warning("the key store's client failed", exc_info=error)
    return StoreUnavailable("the key store cannot be reached")


def _refusal_of_tls(error: BaseException) -> str:
    """What TLS has against the other side, or that one against us; empty when it is something else that went wrong."""
    for found in _behind(error):
        if isinstance(found, ssl.SSLError):
            # Only OpenSSL itself gives them these.
            verdict, reason = getattr(found, "verify_message", ""), getattr(found, "reason", "") or ""
            if verdict:
                return f"the key store's certificate is not accepted ({verdict.rstrip('.')}); see the host and ca_file in store.url"
            if "ALERT" in reason:
                return f"the key store refuses our side of TLS ({reason}); see certificate_file and key_file in store.url"
    return ""


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that led to it."""
    for _ in range(_DEEPEST):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
