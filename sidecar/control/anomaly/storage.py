"""Where memories, anomalies and undelivered notifications are kept: by shard, each save in one step."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sidecar.control.anomaly import record
from sidecar.control.anomaly.detectors import memory as memories
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.sources import Source
from sidecar.control.anomaly.index import AnomalyIndex, entry_of, readable
from sidecar.control.anomaly.notifications.outbox import Message
from sidecar.control.anomaly.record import Anomaly
from sidecar.store import names
from sidecar.store.client import Argument, Store, StoreUnavailable
from sidecar.store.script import load

_SAVE = load("anomaly_save")
RECORDS_KEPT = 2000
"""In each shard, of what is over; the oldest beyond that are dropped. What is open stays."""

_SOURCES = "_sources"
_SLICE = 200
_source_encoder = msgspec.msgpack.Encoder()
_source_decoder = msgspec.msgpack.Decoder(dict[int, Source])


@dataclass
class Part:
    """What is to be saved in one shard."""

    states: list[tuple[str, bytes]] = field(default_factory=list)
    records: list[Anomaly] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class PartlySaved(StoreUnavailable):
    """Some shards, those in `away`, have not taken what was to be saved in them; all others have."""

    def __init__(self, away: dict[int, StoreUnavailable]) -> None:
        super().__init__(str(next(iter(away.values()))))
        self.away = away


class Storage:
    """The anomaly detection's place in the store, for one instance. What does not say otherwise raises StoreUnavailable."""

    def __init__(self, store: Store, instance: str) -> None:
        self._store = store
        self._instance = instance
        self.index = AnomalyIndex(store)

    async def memories(self, key_ids: Sequence[str]) -> list[Memory | None]:
        """What is remembered of each key; None for one that is new, or whose memory cannot be read any more.

        What was acknowledged while nobody detected is known to be nothing.
        """
        commands = [("HGET", names.anomaly_state(names.shard_of(key_id), self._instance), key_id) for key_id in key_ids]
        found = [_memory(data) for data in await self._store.pipeline(commands)]
        remembered = {key_id: memory for key_id, memory in zip(key_ids, found, strict=True) if memory is not None and memory.raised}
        for key_id, when in await self._acknowledged(remembered):
            remembered[key_id].acknowledge(when)
        return found

    async def sources(self) -> dict[int, Source]:
        """The networks of the last save; what was acknowledged while nobody detected is known to be nothing."""
        data = await self._store.call("HGET", names.anomaly_state(0, self._instance), _SOURCES)
        try:
            sources = _source_decoder.decode(data) if data else {}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return {}
        for name, when in await self._acknowledged({source.name for source in sources.values() if source.raised}):
            for source in sources.values():
                if source.name == name:
                    source.acknowledge(when)
        return sources

    async def save_sources(self, sources: dict[int, Source]) -> None:
        """Keep the networks that matter still."""
        await self._store.call("HSET", names.anomaly_state(0, self._instance), _SOURCES, _source_encoder.encode(sources))

    async def save(
        self,
        states: Iterable[tuple[str, Memory]],
        anomalies: Iterable[Anomaly] = (),
        messages: Iterable[Message] = (),
        *,
        muted: Collection[str] = (),
    ) -> None:
        """Save, shard by shard, in slices that leave the event loop room. Raises PartlySaved when some did not take theirs.

        `muted` are ids of anomalies: only of these the `muted_until` is the news, of all others the store keeps the one that it has.
        """
        parts: dict[int, Part] = {}
        for count, (key_id, memory) in enumerate(states, 1):
            parts.setdefault(names.shard_of(key_id), Part()).states.append((key_id, memories.encode(memory)))
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        for anomaly in anomalies:
            parts.setdefault(shard_of(anomaly), Part()).records.append(anomaly)
        for message in messages:
            parts.setdefault(message.shard, Part()).messages.append(message)
        away: dict[int, StoreUnavailable] = {}
        for shard, part in parts.items():
            try:
                await self._save_part(shard, part, muted)
            except StoreUnavailable as error:
                away[shard] = error
        if away:
            raise PartlySaved(away)

    async def open_anomalies(self, shards: Iterable[int] = range(names.SHARDS)) -> tuple[list[Anomaly], dict[int, StoreUnavailable]]:
        """Those of this instance that are not over; and which of the shards do not answer, so that theirs are lacking."""
        found: list[Anomaly] = []
        away: dict[int, StoreUnavailable] = {}
        for shard in shards:
            try:
                found += await self._all(shard)
            except StoreUnavailable as error:
                away[shard] = error
        return [anomaly for anomaly in found if anomaly.instance == self._instance and anomaly.state == "open"], away

    async def anomaly(self, anomaly_id: str) -> Anomaly | None:
        """One, by id."""
        data = await self._store.pipeline([("HGET", names.anomalies(shard), anomaly_id) for shard in range(names.SHARDS)])
        return next(iter(readable(data)), None)

    async def reread(self, anomalies: Sequence[Anomaly]) -> list[Anomaly]:
        """What the store says of these now; those that it does not have, or whose shard does not answer, are left out."""
        commands = [("HGET", names.anomalies(shard_of(one)), one.id) for one in anomalies]
        return readable(_answered(await self._store.pipeline_each(commands)))

    async def not_ahead(self, now: float) -> float:
        """`now`, or the store's time where that is behind it: what one wrong clock takes for old would be gone for all replicas."""
        return min(now, await self._store.time())

    async def drop_closed(self, before: float) -> None:
        """Forget anomalies that began before `before` and are over."""
        for shard in range(names.SHARDS):
            left = 0
            # Of those that stay, the open ones, there may be more than a slice.
            while ids := await self._oldest(shard, before, left):
                left += len(ids) - await self._drop_closed(shard, ids)

    async def messages(self) -> list[Message]:
        """Every notification that is not delivered, of all instances; of shards that do not answer none."""
        replies = await self._store.pipeline_each([("HGETALL", names.outbox(shard)) for shard in range(names.SHARDS)])
        answered = [(shard, reply) for shard, reply in enumerate(replies) if not isinstance(reply, StoreUnavailable)]
        found = [Message.decode(data, shard, name) for shard, reply in answered for name, data in reply.items()]
        return [message for message in found if message is not None]

    async def put_message(self, message: Message) -> None:
        """Note another attempt."""
        await self._store.call("HSET", names.outbox(message.shard), message.name, message.encode())

    async def drop_message(self, message: Message) -> None:
        """Delivered, or given up."""
        await self._store.call("HDEL", names.outbox(message.shard), message.name)

    async def _acknowledged(self, subjects: Collection[str]) -> list[tuple[str, int]]:
        """Which of these have signals up of which people have said that they are nothing, and when: with an episode open they had not."""
        newest: dict[str, Anomaly] = {}
        for one in await self.index.latest_of(list(subjects)) if subjects else []:
            newest.setdefault(one.name_of_subject, one)
        return [(subject, int(one.acknowledged_at or one.updated_at)) for subject, one in newest.items() if one.state == "acknowledged"]

    async def _oldest(self, shard: int, before: float, beyond: int) -> list[bytes]:
        """A slice of the ids of a shard's anomalies that began before `before`, beyond the first so many."""
        return list(await self._store.call("ZRANGEBYSCORE", names.anomaly_index(shard), "-inf", f"{before:.6f}", "LIMIT", beyond, _SLICE))

    async def _drop_closed(self, shard: int, ids: Sequence[bytes]) -> int:
        """Forget those of a shard's anomalies that are over; how many the index has lost."""
        data = await self._store.pipeline([("HGET", names.anomalies(shard), anomaly_id) for anomaly_id in ids])
        over = [one for one in readable(data) if one.state != "open"]
        if not over:
            return 0
        replies = await self._store.pipeline(
            [
                ("HDEL", names.anomalies(shard), *(one.id for one in over)),
                ("ZREM", names.anomaly_subjects(shard), *map(entry_of, over)),
                ("ZREM", names.anomaly_open(shard), *(one.id for one in over)),
                ("ZREM", names.anomaly_index(shard), *(one.id for one in over)),
            ]
        )
        return int(replies[-1])

    async def _all(self, shard: int) -> list[Anomaly]:
        return readable(await self._store.call("HVALS", names.anomalies(shard)))

    async def _save_part(self, shard: int, part: Part, muted: Collection[str]) -> None:
        # Records and messages go with the first slice, which holds the states that they came from.
        states_first = sorted(part.states, key=lambda state: state[0] not in {anomaly.key_id for anomaly in part.records})
        await self._save(shard, Part(states_first[:_SLICE], part.records, part.messages), muted)
        for start in range(_SLICE, len(states_first), _SLICE):
            await self._save(shard, Part(states_first[start : start + _SLICE]))

    async def _save(self, shard: int, part: Part, muted: Collection[str] = ()) -> None:
        args: list[Argument] = [len(part.states)]
        for key_id, data in part.states:
            args += [key_id, data]
        args.append(len(part.records))
        for anomaly in part.records:
            mutes = int(anomaly.id in muted)
            args += [anomaly.id, f"{anomaly.started_at:.6f}", anomaly.state, entry_of(anomaly), mutes, record.encode(anomaly)]
        args.append(len(part.messages))
        for message in part.messages:
            args += [message.name, message.encode()]
        args.append(RECORDS_KEPT)
        names_of_all = (names.anomalies, names.anomaly_index, names.outbox, names.anomaly_open, names.anomaly_subjects)
        await self._store.run(_SAVE, [names.anomaly_state(shard, self._instance), *(name(shard) for name in names_of_all)], args)


def shard_of(anomaly: Anomaly) -> int:
    """The shard of a key's anomalies is the key's; a source has one by its name."""
    return names.shard_of(anomaly.key_id or anomaly.source)


def _answered(replies: list[Any]) -> list[Any]:
    return [reply for reply in replies if not isinstance(reply, StoreUnavailable)]


def _memory(data: bytes | None) -> Memory | None:
    try:
        return memories.decode(data) if data else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
