"""What the key store says of itself: reachable, lasting, the one that this sidecar knows, and on the same clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from sidecar.cli.doctor.check import Check, fail, ok, warn
from sidecar.keys.digest import load
from sidecar.keys.lookup import ANSWER_WITHIN
from sidecar.keys.setup import EPOCH_FILE
from sidecar.settings import Settings
from sidecar.settings.declaration import Keys
from sidecar.settings.show import without_password
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable, connect

PATIENCE = 3.0
"""Seconds for each question."""
OLDEST = (7, 0)
"""Version of Redis; Valkey began with a later one."""
_GRAVITY = ("ok", "warn", "fail")
TRIED = 3
"""Trips, of which the shortest counts."""
FAR = 0.05
"""Seconds of a trip, beyond which those who wait for it notice."""
TRIPS = 2
"""How often the store is asked for a key that a worker does not remember: by the digest, and by its id."""
LARGEST_SKEW = 1.0
"""Seconds; quota periods and expiry are judged on both clocks."""


async def checks(settings: Settings, *, running: bool) -> AsyncIterator[Check]:
    """Every finding about the store; `running` says whether the sidecar, and so an embedded store, runs."""
    embedded = settings.store.url == "embedded"
    if embedded and not running:
        yield ok("store", "the embedded store starts with the sidecar")
        return
    store = await connect(settings.store, Path(settings.data_dir), timeout=PATIENCE)
    try:
        replies = await store.of_each("INFO", timeout=PATIENCE)
        facts = {name: parse_info(reply) for name, reply in replies.items() if not isinstance(reply, StoreUnavailable)}
        for name in sorted(replies.keys() - facts.keys()) if len(replies) > 1 else ():
            yield fail("store server", f"{name} does not answer ({replies[name]})", "bring it back, or let a replica take its place")
        # First what a replica says as well: nothing else is asked of one.
        for judge in _judges(settings.store.url.reveal()) if facts else ():
            yield worst({name: judge(each) for name, each in facts.items()})
        yield judge_distance("the embedded store" if embedded else without_password(settings.store.url), await _trip(store))
        yield await _clock(store)
        yield await _tracking(store)
        yield await _epoch(store, Path(settings.data_dir))
        yield await _pepper(store, settings.keys)
    except StoreUnavailable as error:
        advice = (
            "look at the log of the sidecar and at store/valkey.log in data_dir"
            if embedded
            else "check store.url, the password and the network"
        )
        yield fail("store", f"{without_password(settings.store.url)} does not answer ({error})", advice)
    finally:
        await store.close()


def _judges(url: str) -> Iterator[Callable[[Mapping[str, str]], Check]]:
    """What is asked of each server."""
    yield judge_version
    if not url.startswith("redis+cluster:"):
        yield judge_role
    yield judge_persistence
    yield judge_memory
    if url.startswith(("redis+sentinel:", "redis+cluster:")):
        yield judge_failover


def worst(found: Mapping[str, Check]) -> Check:
    """The gravest of what was found of each server; where there are several, with the name of the first one that it is true of."""
    name, check = max(sorted(found.items()), key=lambda one: _GRAVITY.index(one[1].verdict))
    if len(found) == 1 or check.verdict == "ok":
        return check
    return replace(check, finding=f"{name}: {check.finding}")


def parse_info(reply: object) -> dict[str, str]:
    """The reply to INFO as a mapping; of several, what the first server says."""
    if isinstance(reply, dict):
        reply = next(iter(reply.values()), b"")
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def judge_version(facts: Mapping[str, str]) -> Check:
    """Old servers lack commands that the scripts use."""
    name = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version") or facts.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        return fail("store version", f"{name} {version} is too old", "use Valkey, or Redis from 7.0 on")
    return ok("store version", f"{name} {version}")


def judge_role(facts: Mapping[str, str]) -> Check:
    """A replica takes no writes, or forgets them; of a Cluster nobody asks one."""
    if facts.get("role") == "slave":
        primary = f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}"
        return fail("store role", f"the store is a replica of {primary}, where nothing can be kept", "let store.url lead to the primary")
    return ok("store role", "is a primary")


def judge_persistence(facts: Mapping[str, str]) -> Check:
    """A store that forgets takes revocations back."""
    replicas = facts.get("connected_slaves", "0")
    if facts.get("aof_enabled") == "1":
        if facts.get("aof_last_write_status", "ok") != "ok":
            return fail("store persistence", "the append-only file cannot be written", "make room on the store's disk")
        return ok("store persistence", f"append-only file is on, {replicas} replicas")
    return warn(
        "store persistence",
        "without an append-only file a restart of the store undoes the last revocations",
        "set `appendonly yes` and `appendfsync everysec` in the store's configuration",
    )


def judge_memory(facts: Mapping[str, str]) -> Check:
    """A store that evicts loses keys."""
    policy = facts.get("maxmemory_policy", "noeviction")
    used, most = int(facts.get("used_memory", "0")), int(facts.get("maxmemory", "0"))
    if policy != "noeviction" and most:
        return fail("store memory", f"the store drops entries when it is full ({policy})", "set `maxmemory-policy noeviction`")
    if 0 < most <= used:
        advice = "raise `maxmemory`, or keep less (usage.minutes, usage.hours, calls.max_count)"
        return fail("store memory", f"the store is full ({used >> 20} of {most >> 20} MiB) and takes no writes", advice)
    return ok("store memory", f"{facts.get('used_memory_human', '?')} used, nothing is evicted")


def judge_failover(facts: Mapping[str, str]) -> Check:
    """A primary that was cut off must stop counting as one, or what it has not heard of is believed."""
    if "min_slaves_good_slaves" not in facts:
        finding = "a primary that was cut off goes on answering, and does not know what was revoked at its successor"
        return warn("store failover", finding, "set `min-replicas-to-write 1` and `min-replicas-max-lag 1` in every server's configuration")
    if facts["min_slaves_good_slaves"] == "0":
        finding = "the primary misses its replicas and takes no writes, so nobody can tell whether another one took over"
        return fail("store failover", finding, "bring a replica back")
    return ok("store failover", f"a primary that was cut off stops writing; this one has {facts['min_slaves_good_slaves']} replicas")


async def _tracking(store: Store) -> Check:
    try:
        tracking = await store.track(names.TRACKED_PREFIXES, lambda _: None, ("HGET", names.META, "epoch"))
    except StoreUnavailable as error:
        return warn(
            "store tracking",
            f"the store does not report changes ({error}), so every request asks it",
            "let store.url lead to the server itself, not to a proxy before it, and allow its user CLIENT TRACKING",
        )
    await tracking.close()
    return ok("store tracking", "changes of keys are reported")


async def _trip(store: Store) -> float:
    # A machine that is busy for a moment does not make the store a distant one.
    took = []
    for _ in range(TRIED):
        began = time.perf_counter()
        await store.call("PING")
        took.append(time.perf_counter() - began)
    return min(took)


async def _clock(store: Store) -> Check:
    before = time.time()
    seconds, microseconds = await store.call("TIME")
    middle = (before + time.time()) / 2
    return judge_clock(int(seconds) + int(microseconds) / 1e6 - middle)


def judge_clock(skew: float) -> Check:
    """`skew` is the store's clock less ours, in seconds."""
    if abs(skew) > LARGEST_SKEW:
        return warn(
            "clock", f"the store's clock is {skew:+.1f} s from this machine's", "let both follow a time server (chrony, systemd-timesyncd)"
        )
    return ok("clock", f"{skew * 1000:+.0f} ms between the store's and this machine's")


def judge_distance(address: str, took: float) -> Check:
    """`took`, in seconds, is that of one trip to the store at `address`."""
    finding = f"{address} answers after {took * 1000:.1f} ms"
    if took > ANSWER_WITHIN / TRIPS:
        finding += f", and requests that must ask it are refused: they wait {ANSWER_WITHIN * 1000:.0f} ms for {TRIPS} answers"
        return fail("store", finding, "place the store nearer")
    if took > FAR:
        return warn("store", finding, "place the store nearer: limited keys wait for it")
    return ok("store", finding)


async def _epoch(store: Store, data_dir: Path) -> Check:
    found = await store.call("HGET", names.META, "epoch")
    file = data_dir / EPOCH_FILE
    try:
        known = file.read_bytes().strip()
    except FileNotFoundError:
        known = b""
    except OSError as error:
        return fail(
            "store adoption",
            f"{file} cannot be read ({error.strerror})",
            "give it to the user of the sidecar (chown), and run this as that user",
        )
    if known and found != known:
        what = "is empty" if found is None else "is another one than this data_dir knows"
        return fail("store adoption", f"the store {what}", "restore its data, or accept it with `sidecar store adopt`")
    return ok("store adoption", "is the store that this data_dir knows" if known else "will be taken over at the first start")


async def _pepper(store: Store, keys: Keys) -> Check:
    known = {field[7:].decode() for field in await store.call("HKEYS", names.META) if field.startswith(b"pepper:")}
    ours = set()
    for file in filter(None, (keys.pepper_file, keys.previous_pepper_file)):
        # What is wrong with the file itself is another finding.
        with contextlib.suppress(OSError, ValueError):
            ours.add(load(Path(file)).id)
    if known and not known & ours:
        advice = "bring back the pepper file, or accept the loss of all keys with `sidecar store adopt`"
        return fail("store pepper", "the keys in the store were made with another pepper than this one", advice)
    return ok("store pepper", "is the one that the keys were made with" if known else "will be made known at the first start")
