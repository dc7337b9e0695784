"""How one proxy is measured once. Everything that a request causes is on its bill, also what is done after the answer."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cores import pinned
from benchmarks.load import wrk
from benchmarks.load.request import Request
from benchmarks.peers.peer import Peer
from benchmarks.processes import cpu_seconds

EVENT_EVERY = 0.01
SLOW_EVENT_EVERY = 1.0
OPENING = 5
"""Seconds that hundreds of streams may take to open, before the first one ends."""
PACE = 500
MB = 1e6
FIRST_USES_A_SECOND = 3000


@dataclass(frozen=True)
class Entry:
    """What takes part in a contest: a proxy and what it is sent."""

    label: str
    peer: Peer
    request: Request
    streams: int = 64
    hub_pid: int = 0
    refuses: bool = False
    """Whether every request is to be refused."""


@dataclass(frozen=True)
class Sample:
    """One measurement: figures by name, and processor time in microseconds for each request or event, by role."""

    figures: Mapping[str, float]
    roles: Mapping[str, float] = field(default_factory=dict)


Measure = Callable[[Entry, float], Sample]
"""Measures for about that many seconds. Raises RuntimeError when what came back is not what was asked for."""


def throughput(entry: Entry, seconds: float) -> Sample:
    """As many requests as it takes.

    `rate` in requests a second, `cpu` in microseconds a request, `load` as the share of the load's core that
    was busy: near 1 the load was the limit, and the rate says too little. Work that was put off until after
    the load (events to fold) counts as if it had been done meanwhile, on the same core.
    """
    peer = entry.peer
    cores = peer.site.cores
    before, load_before = peer.processes.cpu(), _load_seconds(entry)
    load = wrk.run(entry.request, peer.url, seconds, cores.load, peer.directory / "load")
    during, load_after = peer.processes.cpu(), _load_seconds(entry)
    peer.settle()
    after = peer.processes.cpu()
    refused = load.requests if entry.refuses else 0
    if load.failed or load.refused != refused or not load.requests:
        raise RuntimeError(f"{entry.label}: of {load.requests} requests {load.refused} were refused and {load.failed} failed")
    roles = {role: 1e6 * (after[role] - before.get(role, 0.0)) / load.requests for role in after}
    late = sum(after[role] - during.get(role, 0.0) for role in after)
    figures = {
        "rate": load.requests / (load.seconds + late / len(cores.proxy)),
        "cpu": sum(roles.values()),
        "load": (load_after - load_before) / load.seconds / len(cores.load),
        "p50": load.p50,
        "p99": load.p99,
    }
    return Sample(figures, roles)


def use_every_key(entry: Entry) -> None:
    """Send the request with each of its keys at least once: what a key's first use costs is another question."""
    seconds = len(entry.request.keys) / FIRST_USES_A_SECOND
    peer = entry.peer
    while wrk.run(entry.request, peer.url, seconds, peer.site.cores.load, peer.directory / "load").requests < len(entry.request.keys):
        seconds *= 2
    peer.settle()


def streams(entry: Entry, seconds: float) -> Sample:
    """Paced event streams: `cpu` in microseconds an event, `p50` and `p99` of the delay in milliseconds, `merged` as a share."""
    chunks = max(20, round(seconds / EVENT_EVERY))
    with _streams(entry, chunks, EVENT_EVERY) as client:
        begin = _next(client, "open")
        before = entry.peer.processes.cpu()
        end = _next(client, "closing")
        after = entry.peer.processes.cpu()
        done = _next(client, "done")
    if done["broken"]:
        raise RuntimeError(f"{entry.label}: {done['broken']:.0f} streams broke off")
    entry.peer.settle()
    events = end["events"] - begin["events"]
    roles = {role: 1e6 * (after[role] - before.get(role, 0.0)) / events for role in after}
    delays = {name: done[name] for name in ("p50", "p99", "longest")}
    return Sample({"cpu": sum(roles.values()), "merged": done["merged"] / done["events"], **delays}, roles)


def stream_memory(entry: Entry, seconds: float) -> Sample:
    """Open streams that say little: `memory` in bytes for each, beyond what the proxy had when it was started; `whole` in MB with that."""
    chunks = round((OPENING + seconds) / SLOW_EVENT_EVERY)
    with _streams(entry, chunks, SLOW_EVENT_EVERY) as client:
        _next(client, "open")
        during = sum(entry.peer.processes.anonymous().values())
        _next(client, "closing")
        done = _next(client, "done")
    if done["broken"]:
        raise RuntimeError(f"{entry.label}: {done['broken']:.0f} streams broke off")
    # Not what it had just before: memory of an earlier round is kept for the next one.
    return Sample({"memory": (during - entry.peer.at_start) / entry.streams, "whole": during / MB})


def latency(entry: Entry, seconds: float) -> Sample:
    """At 500 requests a second: `p50` and `p99` in microseconds."""
    command = [sys.executable, "-m", "benchmarks.load.paced", entry.peer.url, entry.request.keys[0]]
    command += ["--rate", str(PACE), "--seconds", str(seconds)]
    done = subprocess.run(
        pinned(entry.peer.site.cores.load, *command), stdout=subprocess.PIPE, text=True, check=False, timeout=seconds + 60
    )
    if done.returncode:
        raise RuntimeError(f"{entry.label}: not every answer came")
    said = json.loads(done.stdout)
    return Sample({name: said[name] for name in ("p50", "p99", "longest")})


def idle(entry: Entry, seconds: float) -> Sample:
    """Nothing happens: `cpu` in milliseconds a second, `memory` in MB; the roles have the memory of each process."""
    before = entry.peer.processes.cpu()
    time.sleep(seconds)
    after = entry.peer.processes.cpu()
    resident = {role: size / MB for role, size in entry.peer.processes.resident().items()}
    spent = sum(after[role] - before.get(role, 0.0) for role in after)
    return Sample({"cpu": 1000 * spent / seconds, "memory": sum(resident.values())}, resident)


def _streams(entry: Entry, chunks: int, every: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.load.streams", entry.peer.url, entry.request.keys[0]]
    command += ["--streams", str(entry.streams), "--chunks", str(chunks), "--every", str(every)]
    return subprocess.Popen(pinned(entry.peer.site.cores.load, *command), stdout=subprocess.PIPE, text=True)


def _next(client: subprocess.Popen[str], what: str) -> dict[str, Any]:
    assert client.stdout is not None
    line = client.stdout.readline()
    said: dict[str, Any] = json.loads(line or "{}")
    if said.get("what") != what:
        raise RuntimeError(f"the streams' client said {line!r} instead of {what}")
    return said


def _load_seconds(entry: Entry) -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime + (cpu_seconds(entry.hub_pid) if entry.hub_pid else 0.0)
