"""Which contests there are, and who takes part in which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks import measures
from benchmarks.contest import Contest
from benchmarks.load.request import CHAT, OPENAI_CHAT, Request, chat, get, stream, upload
from benchmarks.measures import Entry
from benchmarks.peers.peer import Peer
from benchmarks.peers.sidecar import Sidecar

QUICK = ("post", "stream", "keys")
MANY_STREAMS = 500
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Cast:
    """Everybody who has been started."""

    ours: Sidecar
    peers: Sequence[Peer]
    """The sidecar first, then all others that run here."""
    direct: Peer
    profiles: Sequence[Sidecar]
    """Sidecars in front of other kinds of hubs."""
    workers: Sequence[Sidecar]
    """Sidecars with more than one worker, on as many cores."""
    unmetered: Sidecar | None
    """The same build with its metering taken out."""
    hub_pid: int
    keys: int
    """How many distinct keys a contest may use."""

    def entry(self, peer: Peer, request: Request, label: str = "", streams: int = 64) -> Entry:
        """An entry that sends `peer` its own key, unless the request has some."""
        return Entry(label or peer.name, peer, request if request.keys else request.with_keys(peer.key), streams, self.hub_pid)

    def all(self, request: Request, *, direct: bool = False, streams: int = 64) -> list[Entry]:
        """The same request for everybody."""
        everybody = [peer for peer in self.peers if peer.name != "litellm"]
        return [self.entry(peer, request, streams=streams) for peer in [*everybody, *([self.direct] if direct else [])]]


def build(name: str, cast: Cast) -> Contest:
    """The contest of that name. Raises KeyError."""
    return _CONTESTS[name](cast)


def names() -> tuple[str, ...]:
    """Every contest in the best order: memory before load has grown the processes, many keys when nothing else follows."""
    return tuple(_CONTESTS)


def _rates(name: str, title: str, entries: Sequence[Entry], baseline: str = "sidecar") -> Contest:
    return Contest(name, title, measures.throughput, entries, "rate", "requests/s", baseline)


def _post(cast: Cast) -> Contest:
    entries = cast.all(chat())
    entries += [cast.entry(peer, peer.probe()) for peer in cast.peers if peer.name == "litellm"]
    return _rates("post", "small POST of JSON, keep-alive, 32 connections", entries)


def _get(cast: Cast) -> Contest:
    return _rates("get", "GET with a small answer", cast.all(get()))


def _large(cast: Cast) -> Contest:
    return _rates("large", "POST with an answer of 20 kB", cast.all(chat(answer="large")))


def _upload(cast: Cast) -> Contest:
    return _rates("upload", "upload of 1 MB as a form", cast.all(upload(MEGABYTE)))


def _keys(cast: Cast) -> Contest:
    ours = cast.ours
    limits = {"rpm": 100_000_000, "tpm": 100_000_000_000, "max_concurrency": 10_000}
    refused = {
        "revoked key": (ours.create_revoked_key(),),
        "garbage keys": tuple(f"ahk_garbage{number:040}" for number in range(1000)),
    }
    good = {"one good key": (ours.key,), "limited key": (ours.create_key(limits=limits),), "many keys": ours.create_keys(cast.keys)}
    entries = [cast.entry(ours, chat().with_keys(*keys), label) for label, keys in good.items()]
    measures.use_every_key(entries[-1])
    for label, keys in refused.items():
        entry = cast.entry(ours, chat().with_keys(*keys), label)
        entries.append(Entry(entry.label, entry.peer, entry.request, hub_pid=cast.hub_pid, refuses=True))
    return _rates("keys", f"small POST, by kind of key; many keys are {cast.keys:,} in turn", entries, "one good key")


def _stored_keys(cast: Cast) -> Contest:
    entries = [
        cast.entry(cast.ours, chat().with_keys(*cast.ours.create_keys(count)), f"{count:,} {'key' if count == 1 else 'keys in turn'}")
        for count in _steps(cast.keys)
    ]
    measures.use_every_key(entries[-1])
    return _rates("stored-keys", "small POST, by number of keys", entries, entries[0].label)


def _stream(cast: Cast) -> Contest:
    entries = cast.all(stream(1, 1), direct=True)
    return Contest("stream", "64 event streams, 100 events a second each", measures.streams, entries, "cpu", "µs/event", "sidecar")


def _memory(cast: Cast) -> Contest:
    entries = cast.all(stream(1, 1), streams=MANY_STREAMS)
    title = f"{MANY_STREAMS} open event streams"
    return Contest("memory", title, measures.stream_memory, entries, "memory", "bytes/stream", "sidecar", warms_up=False)


def _latency(cast: Cast) -> Contest:
    entries = cast.all(chat(), direct=True)
    return Contest("latency", "small POST, 500 requests a second", measures.latency, entries, "p50", "µs", "direct")


def _profiles(cast: Cast) -> Contest:
    targets = {"aigne": CHAT, "openai": OPENAI_CHAT, "generic": OPENAI_CHAT}
    sidecars = {"aigne": cast.ours, **{sidecar.profile: sidecar for sidecar in cast.profiles}}
    entries = [cast.entry(sidecar, chat(targets[profile]), profile) for profile, sidecar in sidecars.items()]
    return _rates("profiles", "small POST, by hub profile", entries, "aigne")


def _bodies(cast: Cast) -> Contest:
    sizes = {"1 kB": 1 << 10, "10 kB": 10 << 10, "100 kB": 100 << 10, "1 MB": MEGABYTE}
    entries = [cast.entry(cast.ours, chat(size=size), label) for label, size in sizes.items()]
    return _rates("bodies", "POST of JSON, by size of the prompt", entries, "1 kB")


def _many_streams(cast: Cast) -> Contest:
    entries = [cast.entry(cast.ours, stream(1, 1), f"{count} streams", count) for count in (8, 32, 64, 128)]
    return Contest("many-streams", "event streams, by their number", measures.streams, entries, "cpu", "µs/event", "8 streams")


def _workers(cast: Cast) -> Contest:
    entries = [cast.entry(cast.ours, chat(), "1 worker")]
    entries += [cast.entry(sidecar, chat(), f"{sidecar.workers} workers") for sidecar in cast.workers]
    return _rates("workers", "small POST, by number of workers, each with a core", entries, "1 worker")


def _metering(cast: Cast) -> Contest:
    entries = [cast.entry(sidecar, chat()) for sidecar in (cast.ours, cast.unmetered) if sidecar is not None]
    return _rates("metering", "small POST, with metering and with it taken out", entries, "unmetered")


def _idle(cast: Cast) -> Contest:
    entries = cast.all(chat())
    return Contest("idle", "nothing to do; memory in MB", measures.idle, entries, "cpu", "ms/s", "sidecar", warms_up=False)


_CONTESTS: dict[str, Callable[[Cast], Contest]] = {
    "idle": _idle,
    "memory": _memory,
    "post": _post,
    "stream": _stream,
    "get": _get,
    "large": _large,
    "upload": _upload,
    "latency": _latency,
    "metering": _metering,
    "profiles": _profiles,
    "bodies": _bodies,
    "many-streams": _many_streams,
    "workers": _workers,
    "keys": _keys,
    "stored-keys": _stored_keys,
}


def _steps(most: int) -> Iterable[int]:
    count = 1
    while count < most:
        yield count
        count *= 100
    yield most
