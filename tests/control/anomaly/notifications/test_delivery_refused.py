"""A shard that is read but takes no writes, as on a server of a Cluster whose replica or disk is gone, makes no flood of repeats."""

from __future__ import annotations

from msgspec.structs import replace

from sidecar.control.anomaly.notifications.outbox import BACK_OFF
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.store.link import Command
from tests.control.anomaly.conftest import Bench, Receiver
from tests.control.anomaly.notifications.test_delivery import _queue
from tests.control.support.away import PartlyAway


class _ReadOnly(PartlyAway):
    """Of `shards` only reading is answered."""

    def _is_away(self, command: Command) -> bool:
        return command[0] != "HGETALL" and super()._is_away(command)


def _read_only(bench: Bench, shard: int) -> _ReadOnly:
    bench.store._transport = transport = _ReadOnly(bench.store._transport)
    transport.shards = {shard}
    return transport


async def test_what_was_delivered_is_not_delivered_again_while_the_store_cannot_take_it_out(bench: Bench, receiver: Receiver) -> None:
    message = await _queue(bench, receiver)
    transport = _read_only(bench, message.shard)
    for _ in range(3):
        await bench.deliver()
    assert [headers["webhook-id"] for headers in receiver.headers] == [message.id]
    transport.shards = set()
    await bench.deliver()
    assert len(receiver.bodies) == 1
    assert await bench.detection.engine.storage.messages() == []


async def test_what_was_not_accepted_waits_as_long_while_the_store_cannot_take_a_note(bench: Bench, receiver: Receiver) -> None:
    receiver.status = 503
    message = await _queue(bench, receiver)
    transport = _read_only(bench, message.shard)
    for attempts, wait in enumerate(BACK_OFF[:3], 1):
        await bench.deliver()
        await bench.deliver()
        assert len(receiver.bodies) == attempts
        bench.keys.clock.now += wait
    transport.shards = set()
    await bench.deliver()
    (waiting,) = await bench.detection.engine.storage.messages()
    assert (waiting.attempts, len(receiver.bodies)) == (4, 4)


async def test_what_other_shards_hold_goes_out_however_much_waits_there(bench: Bench, receiver: Receiver) -> None:
    messages = [await _queue(bench, receiver, id_=f"msg_{number}") for number in range(20)]
    other = replace(messages[0], id="msg_other", shard=messages[0].shard + 1, name=b"", next_at=bench.now + 1)
    other.seal = Receivers((receiver.url,), bench.keys.digester.pepper).seal(other.sealed)
    await bench.detection.engine.storage.save([], [], [other])
    _read_only(bench, messages[0].shard)
    bench.keys.clock.now += 1
    await bench.deliver()
    assert len({headers["webhook-id"] for headers in receiver.headers}) == len(receiver.headers) == 21
