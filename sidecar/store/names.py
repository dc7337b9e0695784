"""Every name under which something is kept in Redis.

A script may touch only names of one hash slot, so names that change together share a tag in braces
(Redis Cluster specification, "Hash tags"). A key's record stands alone in its slot; its limits and
its usage live together in one of `SHARDS` tagged shards, so that one script can settle both.
"""

from __future__ import annotations

import zlib

PREFIX = "sidecar:"
META = "sidecar:meta"
"""Hash: `epoch` (random, made once), `pepper:<id>` (fingerprints), `schema`."""

NOTHING = "sidecar:nothing"
"""Never written, so that to delete it is a write that changes nothing."""

SPOOL_CLAIMS = "sidecar:{sidecar:meta}:spools"
"""Sorted set: every spool that has positions, by the turn in which it was last claimed. In META's slot, without which nothing goes on."""
SPOOL_TURN = "sidecar:{sidecar:meta}:turn"
"""Hash `number`, `began` (seconds, by the store's clock): the present turn. Claims age by these turns; see control/folding/claims.py."""

KEY_PREFIX = "sidecar:key:"
DIGEST_PREFIX = "sidecar:digest:"
TRACKED_PREFIXES = (KEY_PREFIX, DIGEST_PREFIX)
"""What workers cache, and therefore what their invalidation connection watches."""

SHARDS = 16
GLOBAL_SHARD = 0
"""The shard of what belongs to no key."""
KEYLESS = SHARDS
"""Beside the shards, the place of calls without a key in the call log. Whoever has none could fill it, and push out the calls of keys."""

ADMIN_TOKENS = "sidecar:{admin}:tokens"
ADMIN_TOKENS_USED = "sidecar:{admin}:tokens-used"
AUDIT = "sidecar:{audit}:log"
AUDIT_HEAD = "sidecar:{audit}:head"
AUDIT_TARGETS = "sidecar:{audit}:targets"
"""Sorted set, in the order of the alphabet: `<id of what was acted on>\\0<sequence>` of the log's events, up to `targets` in the head."""
SESSIONS_PREFIX = "sidecar:{admin}:session:"
IDEMPOTENCY_PREFIX = "sidecar:{admin}:idempotency:"

ANOMALY_SEAT = "sidecar:{anomaly}:seat"
"""String: which replica detects for all; it expires unless it is renewed."""
ANOMALY_TURN = "sidecar:{anomaly}:turn"
"""Hash `holder` and `number`: who holds the seat, or held it last, and how often it has changed hands."""
ANOMALY_INBOX = "sidecar:{anomaly}:inbox"
"""List: the other replicas' traffic on its way to that one (MessagePack)."""
ANOMALY_SALTS = "sidecar:{anomaly}:salts"
"""Hash: what all numbers in memories are salted with, by the id of the pepper that it is wrapped with."""
ADDRESS_SALTS = "sidecar:address-salts"
"""Hash: the same of what clients' addresses are hashed with."""


def shard_of(key_id: str) -> int:
    """The shard that holds a key's limits and usage."""
    return zlib.crc32(key_id.encode()) % SHARDS


def key(key_id: str) -> str:
    """Hash `record` (JSON) and `revision`."""
    return KEY_PREFIX + key_id


def digest(hexdigest: str) -> str:
    """String: the id of the key that a secret's digest belongs to."""
    return DIGEST_PREFIX + hexdigest


def index(field: str) -> str:
    """Sorted set for listing keys; keys/index_entries.py says which there are, and what their members and scores are."""
    return f"sidecar:{{index}}:{field}"


def limit(key_id: str, what: str) -> str:
    """A key's admission state: `rpm`, `settled`, `holds`, `counts`; limits/turn.py describes them."""
    return f"sidecar:{{u{shard_of(key_id)}}}:limit:{key_id}:{what}"


def use(shard: int) -> str:
    """Hash: use of each key and of its secrets, by key id; apart from the record, or each use would flush every cache.

    Written by the ledger, read by `sidecar.keys.use`, which says what the values are.
    """
    return f"sidecar:{{u{shard}}}:use"


def positions(shard: int) -> str:
    """Hash: spool id (and `:details` for that lane) to the offset up to which this shard has applied it."""
    return f"sidecar:{{u{shard}}}:positions"


def mark(shard: int) -> str:
    """String without meaning: written where a write is the only proof that a server is still the primary, or has a disk."""
    return f"sidecar:{{u{shard}}}:mark"


def series(shard: int, step: str, number: int) -> str:
    """Hash of usage sums of all keys of a shard.

    `step` is a name in SERIES of control/totals/series.py, `number` that of a span since 1970.
    """
    return f"sidecar:{{u{shard}}}:{step}:{number}"


def totals(shard: int, instance: str) -> str:
    """Hash: what one instance has counted since ever, for its /metrics after a restart."""
    return f"sidecar:{{u{shard}}}:totals:{instance}"


def active(shard: int, day: int) -> str:
    """Sorted set: the requests of each key that was used on a day (days since 1970, UTC)."""
    return f"sidecar:{{u{shard}}}:active:{day}"


def recent(shard: int) -> str:
    """Sorted set: the keys by their last use."""
    return f"sidecar:{{u{shard}}}:recent"


# Calls without a key lie in the slot of what else is kept of them: both are written at once.
_CALLS = (*(f"sidecar:{{u{shard}}}:calls" for shard in range(SHARDS)), f"sidecar:{{u{shard_of('')}}}:calls:keyless")
_CALL_BLOCKS = tuple(f"{name}:blocks" for name in _CALLS)


def calls(shard: int) -> str:
    """Sorted set: the call log's index of a shard or of KEYLESS; a block's `<number>:<calls>:<first time>:<key mask>` by its last time."""
    return _CALLS[shard]


def call_blocks(shard: int) -> str:
    """Hash: the call log's blocks by number; `next` is the latest number, `count` the calls that
    are kept, `trimmed` the latest time of a call that is kept no more, `trims` how often some were dropped."""
    return _CALL_BLOCKS[shard]


def anomaly_state(shard: int, instance: str) -> str:
    """Hash: what one instance's detectors remember of each key (MessagePack), by key id."""
    return f"sidecar:{{u{shard}}}:anomaly:state:{instance}"


def anomalies(shard: int) -> str:
    """Hash: anomalies (JSON) by id."""
    return f"sidecar:{{u{shard}}}:anomaly:records"


def anomaly_index(shard: int) -> str:
    """Sorted set: ids of anomalies by their start."""
    return f"sidecar:{{u{shard}}}:anomaly:index"


def anomaly_open(shard: int) -> str:
    """Sorted set: ids of the anomalies that are open, by their start."""
    return f"sidecar:{{u{shard}}}:anomaly:open"


def anomaly_subjects(shard: int) -> str:
    """Sorted set, in the order of the alphabet: `<key id or network>\\0<start>\\0<id>` of every anomaly."""
    return f"sidecar:{{u{shard}}}:anomaly:subjects"


def outbox(shard: int) -> str:
    """Hash: notifications that are not delivered yet (MessagePack), by message and receiver."""
    return f"sidecar:{{u{shard}}}:anomaly:outbox"
