"""A fleet's life in front of its store, as a discrete-event simulation: every primary is one thread with a queue before it.

Arrivals are heartbeats of every worker, admissions of limited keys, look-ups of keys that a worker does not
remember, what the replicas fold, and revocations, which are reported to every worker. Some workers' connections are
black holes: they hear nothing, and their lease runs out. A worker whose proof comes too late stops trusting its
memory, and asks for every request until the next one.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sidecar.keys.lease import HEARTBEAT, TRUSTED_FOR
from sidecar.keys.lookup import ANSWER_WITHIN

NETWORK = 0.0003
"""Seconds one way between a worker and the store."""
LOOP = 0.002
"""Seconds that a busy worker's loop may take to look at what has come, on average."""
FOLD_EVERY = 0.5
"""Seconds between two turns of a replica's fold that finds something."""


@dataclass(frozen=True)
class Costs:
    """Seconds of a server's one thread."""

    heartbeat: float
    admission: float
    report: float
    """Of a changed key to one worker."""
    lookup: float
    """Of a key that a worker does not remember."""
    memory: float
    """Bytes of one key with its index entries."""
    event: float = 0.0
    """Of a finished request, folded with what else its replica has in a turn."""


@dataclass(frozen=True)
class Fleet:
    """What is simulated. A replica has one worker here; rates are by the second, over all workers."""

    workers: int
    admissions: float
    """Requests of limited keys."""
    revocations: float
    """Changed keys."""
    requests: float = 0.0
    """All requests, the limited ones among them; they ask for the keys in use alike."""
    keys: int = 0
    """Keys in use; every worker sees all of them."""
    remembered: int = 100_000
    """Keys that a worker remembers."""
    primaries: int = 1
    deaf: float = 0.01
    """Share of workers whose connection hears nothing."""

    @property
    def misses(self) -> float:
        """Requests whose worker must ask for the key."""
        return self.requests * max(0.0, 1 - self.remembered / self.keys) if self.keys else 0.0


@dataclass
class Outcome:
    """What came of it. Times in seconds, sorted at the end."""

    busy: float = 0.0
    """Share of the busiest server's one thread."""
    revocation: list[float] = field(default_factory=list)
    """From the answer to the operator until a worker refuses, over all workers."""
    admission: list[float] = field(default_factory=list)
    lookup: list[float] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    """What the busiest server's work was for."""
    distrusted: int = 0
    """Proofs that came too late to trust the memory until the next one."""

    def late(self) -> float:
        """Share of look-ups that would have been given up."""
        return sum(time > ANSWER_WITHIN for time in self.lookup) / len(self.lookup) if self.lookup else 0.0


def simulate(fleet: Fleet, costs: Costs, seconds: float, seed: int = 1) -> Outcome:
    """Play `seconds` of the fleet's life. First come, first served."""
    chance = random.Random(seed)
    came = Outcome()
    for server in range(fleet.primaries):
        work = _serve(_arrivals(fleet, seconds, chance), fleet, costs, came, chance)
        free_at = work.pop("")
        busy = sum(work.values()) / max(seconds, free_at)
        if not server or busy > came.busy:
            came.busy, came.shares = busy, {kind: time / sum(work.values()) for kind, time in work.items()}
    for times in (came.revocation, came.admission, came.lookup):
        times.sort()
    return came


def _arrivals(fleet: Fleet, seconds: float, chance: random.Random) -> list[tuple[float, str]]:
    """What one primary is asked, as a heap."""
    arrivals = [(moment, "heartbeat") for _ in range(fleet.workers) for moment in _regularly(HEARTBEAT, seconds, chance)]
    if fleet.requests:
        arrivals += [(moment, "fold") for _ in range(fleet.workers) for moment in _regularly(FOLD_EVERY, seconds, chance)]
    for kind, rate in (("admission", fleet.admissions), ("lookup", fleet.misses), ("revocation", fleet.revocations)):
        moment = chance.expovariate(rate / fleet.primaries) if rate else seconds
        while moment < seconds:
            arrivals.append((moment, kind))
            moment += chance.expovariate(rate / fleet.primaries)
    heapq.heapify(arrivals)
    return arrivals


def _regularly(every: float, seconds: float, chance: random.Random) -> Iterator[float]:
    moment = chance.random() * every
    while moment < seconds:
        yield moment
        moment += every


def _serve(arrivals: list[tuple[float, str]], fleet: Fleet, costs: Costs, came: Outcome, chance: random.Random) -> dict[str, float]:
    """Play one server; its seconds of work by kind, and under no name when the last was done."""
    share = 1 / fleet.primaries
    price = {
        "heartbeat": costs.heartbeat,
        "admission": costs.admission,
        "lookup": costs.lookup,
        "revocation": costs.heartbeat + costs.report * fleet.workers,
        "fold": costs.event * fleet.requests * FOLD_EVERY / fleet.workers * share,
        # Until its next proof a worker asks for all of its requests.
        "distrust": costs.lookup * fleet.requests * HEARTBEAT / fleet.workers * share,
    }
    work = dict.fromkeys(price, 0.0)
    free_at = 0.0
    while arrivals:
        moment, kind = heapq.heappop(arrivals)
        begun = max(free_at, moment)
        free_at = begun + price[kind]
        work[kind] += price[kind]
        took = free_at - moment + 2 * NETWORK
        if kind == "admission":
            came.admission.append(took)
        elif kind == "lookup":
            came.lookup.append(took)
        elif kind == "revocation":
            came.revocation += _heard(fleet, costs, begun - moment, chance)
        elif kind == "heartbeat" and took > TRUSTED_FOR - HEARTBEAT and fleet.requests:
            came.distrusted += 1
            heapq.heappush(arrivals, (free_at, "distrust"))
    return work | {"": free_at}


def _heard(fleet: Fleet, costs: Costs, waited: float, chance: random.Random) -> list[float]:
    """When each worker refuses a key that was revoked: it hears of it, or its lease runs out, whatever the queue."""
    times = []
    for place in range(fleet.workers):
        # A proof counts from when it was asked for; the last one is at most a heartbeat old.
        lapsed = TRUSTED_FOR - chance.random() * HEARTBEAT
        heard = waited + costs.report * (place + 1) + NETWORK + chance.expovariate(1 / LOOP)
        times.append(lapsed if chance.random() < fleet.deaf else min(heard, lapsed))
    return times


def over_admitted(limit: int, demand: float, lost: float, fails_at: float = 30.0) -> float:
    """Requests beyond `limit` a minute, in units of it, when the server fails over and its replica lacks the last `lost` seconds.

    `demand` is how many times the limit is asked for, evenly.
    """
    every = 60.0 / (limit * demand)
    admitted: list[float] = []
    counted = 0
    failed = False
    for number in range(int(limit * demand)):
        moment = number * every
        if not failed and moment >= fails_at:
            failed = True
            counted -= sum(one > fails_at - lost for one in admitted)
        if counted < limit:
            counted += 1
            admitted.append(moment)
    return len(admitted) / limit - 1


def percentages(shares: dict[str, float]) -> Sequence[str]:
    """What the work was for, the most first."""
    return [f"{kind} {share:.0%}" for kind, share in sorted(shares.items(), key=lambda one: -one[1]) if share >= 0.01]
