from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import b64decode, b64encode

import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.notifications import delivery
from sidecar.control.anomaly.notifications.outbox import BACK_OFF, Message
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.settings.declaration import Notifications
from sidecar.settings.values import Secret, WebhookUrl
from sidecar.store import names
from tests.control.anomaly.conftest import SECRET, Bench, Receiver
from tests.control.support.away import partly_away
from tests.support.keys import OLDER_PEPPER, PEPPER
from tests.support.waiting import until

BODY = b'{"type":"anomaly.page"}'


def _message(bench: Bench, url: str, id_: str = "msg_1", body: bytes = BODY) -> Message:
    """As the detection queues it."""
    receivers = Receivers((url,), bench.keys.digester.pepper)
    message = Message(id_, receivers.names[0], 3, "one", bench.now, bench.now, body)
    message.seal = receivers.seal(message.sealed)
    return message


async def _queue(bench: Bench, receiver: Receiver, url: str = "", id_: str = "msg_1") -> Message:
    message = _message(bench, url or receiver.url, id_)
    await bench.detection.engine.storage.save([], [], [message])
    return message


def _configure(bench: Bench, *urls: str) -> None:
    """A restart with these receivers."""
    notifications = Notifications(webhooks=tuple(map(WebhookUrl, urls)), webhook_secret=Secret(SECRET))
    bench.settings = replace(bench.settings, notifications=notifications)
    bench.start()


async def test_a_receiver_can_check_what_it_gets(bench: Bench, receiver: Receiver) -> None:
    await _queue(bench, receiver)
    await bench.deliver()
    (headers,) = receiver.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + BODY
    expected = b64encode(hmac.new(b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert await bench.detection.engine.storage.messages() == []


async def test_it_is_tried_again_later_and_later_and_given_up_in_the_end(bench: Bench, receiver: Receiver) -> None:
    receiver.status = 503
    await _queue(bench, receiver)
    await bench.deliver()
    await bench.deliver()
    assert len(receiver.bodies) == 1
    for wait in BACK_OFF:
        bench.keys.clock.now += wait
        await bench.deliver()
    assert len(receiver.bodies) == len(BACK_OFF) + 1
    assert await bench.detection.engine.storage.messages() == []


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(bench: Bench, receiver: Receiver) -> None:
    receiver.status = 410
    await _queue(bench, receiver)
    await bench.deliver()
    assert await bench.detection.engine.storage.messages() == []


async def test_what_became_of_each_attempt_is_counted(bench: Bench, receiver: Receiver) -> None:
    await _queue(bench, receiver)
    for status in (503, 500, 204):
        receiver.status = status
        await bench.deliver()
        bench.keys.clock.now += BACK_OFF[1]
    receiver.status = 410
    await _queue(bench, receiver, id_="msg_2")
    await bench.deliver()
    assert bench.detection.delivery.attempts == {"delivered": 1, "failed": 2, "given_up": 1}


async def test_who_can_write_to_the_store_has_nothing_posted(bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    other = receiver.url.replace("/hook", "/other")
    _configure(bench, receiver.url, other)
    real, to_other = _message(bench, receiver.url), _message(bench, other)
    forged = [
        replace(real, body=b'{"type":"anomaly.page","data":"mine"}'),
        replace(real, id="msg_2"),
        replace(real, receiver=to_other.receiver),
        replace(real, seal=b""),
        replace(real, seal="\u00e9".encode()),
        # As an earlier version queued it, which anybody can write at any time.
        replace(real, receiver=receiver.url, seal=b""),
    ]
    for number, message in enumerate(forged):
        await bench.store.call("HSET", names.outbox(number), b"\xff" if number % 2 else message.name, message.encode())
    await bench.deliver()
    assert receiver.bodies == []
    assert await bench.detection.engine.storage.messages() == []
    (said,) = caplog.records
    assert said.levelname == "ERROR" and said.getMessage().startswith(
        f"notifications dropped that nothing proves to be the sidecar's own: {len(forged)};"
    )


async def test_the_store_holds_no_url(bench: Bench, receiver: Receiver) -> None:
    receiver.status = 503
    await bench.create("notify")
    await bench.theft()
    await bench.deliver()
    assert receiver.bodies
    (stored,) = [one for shard in range(names.SHARDS) for one in (await bench.store.call("HGETALL", names.outbox(shard))).items()]
    assert b"anomaly.page" in stored[1]
    assert not any(b"http" in part or b"/hook" in part for part in stored)


async def test_what_waits_while_the_pepper_is_changed_is_delivered(bench: Bench, receiver: Receiver) -> None:
    await _queue(bench, receiver)
    await bench.change_pepper(OLDER_PEPPER, PEPPER)
    await bench.deliver()
    assert len(receiver.bodies) == 1
    assert await bench.detection.engine.storage.messages() == []


async def test_a_receiver_that_was_taken_out_gets_nothing_more(bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        await _queue(bench, receiver, id_=f"msg_{number}")
    _configure(bench)
    await bench.deliver()
    assert len(await bench.detection.engine.storage.messages()) == 3, "a replica that is not restarted yet may know it, or know it first"
    bench.keys.clock.now += int(delivery.OTHERS_KEPT)
    await bench.deliver()
    assert receiver.bodies == []
    assert await bench.detection.engine.storage.messages() == []
    assert [record.getMessage() for record in caplog.records] == ["notifications dropped whose receivers are configured no more: 3"]


async def test_a_receiver_that_only_a_newer_configuration_names_gets_its_own_from_there(bench: Bench, receiver: Receiver) -> None:
    _configure(bench)
    await _queue(bench, receiver)
    await bench.deliver()
    _configure(bench, receiver.url)
    await bench.deliver()
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "no url"])
async def test_what_cannot_be_reached_waits(bench: Bench, receiver: Receiver, url: str, caplog: pytest.LogCaptureFixture) -> None:
    _configure(bench, url)
    await _queue(bench, receiver, url=url)
    await bench.deliver()
    (message,) = await bench.detection.engine.storage.messages()
    assert message.attempts == 1
    assert url not in caplog.text


async def test_queueing_the_same_again_does_not_begin_anew(bench: Bench, receiver: Receiver) -> None:
    receiver.status = 500
    await _queue(bench, receiver)
    await bench.deliver()
    await _queue(bench, receiver)
    (message,) = await bench.detection.engine.storage.messages()
    assert message.attempts == 1


async def test_only_the_replica_that_leads_delivers(bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    await _queue(bench, receiver)
    await bench.detection.engine.tick(bench.now)
    second = bench.start("two")
    await second.engine.tick(bench.now)
    looks: list[bool] = []
    leads = second.delivery._leads
    monkeypatch.setattr(second.delivery, "_leads", lambda: looks.append(leads()) or looks[-1])
    task = asyncio.create_task(second.delivery.run())
    # When it looks again, all that its first look led to is done.
    await until(lambda: second.delivery.wake() or len(looks) > 1)
    assert receiver.bodies == [] and not any(looks)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_new_message_goes_out_at_once(bench: Bench, receiver: Receiver) -> None:
    await bench.detection.engine.tick(bench.now)
    task = asyncio.create_task(bench.detection.delivery.run())
    await asyncio.sleep(0)
    await _queue(bench, receiver)
    bench.detection.delivery.wake()
    await until(lambda: receiver.bodies)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_receiver_that_does_not_answer_keeps_nobody_else_waiting(bench: Bench, receiver: Receiver) -> None:
    taken: list[asyncio.StreamWriter] = []
    over = asyncio.Event()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        await over.wait()
        writer.close()

    silent = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/hook"
    _configure(bench, url, receiver.url)
    for number in range(40):
        await _queue(bench, receiver, url=url, id_=f"msg_{number}")
    bench.keys.clock.now += 1
    await bench.detection.engine.tick(bench.now)
    task = asyncio.create_task(bench.detection.delivery.run())
    await until(lambda: len(taken) == delivery._AT_A_TIME)
    await _queue(bench, receiver, id_="msg_late")
    bench.detection.delivery.wake()
    over.set()
    await until(lambda: receiver.bodies)
    # What is late goes out beside the second round of the five that the others take.
    assert len(taken) <= 2 * delivery._AT_A_TIME
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    silent.close()


async def test_a_receiver_that_answers_late_keeps_nobody_else_waiting(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LOOK_EVERY", 0.01)
    answered = 0
    connected: list[asyncio.StreamWriter] = []

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        connected.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(BODY))
            await asyncio.sleep(0.05)
            answered += 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    slow = await asyncio.start_server(late, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{slow.sockets[0].getsockname()[1]}/hook"
    _configure(bench, url, receiver.url)
    for number in range(40):
        await _queue(bench, receiver, url=url, id_=f"msg_{number}")
    await bench.detection.engine.tick(bench.now)
    task = asyncio.create_task(bench.detection.delivery.run())
    await until(lambda: answered)
    await _queue(bench, receiver, id_="msg_late")
    await until(lambda: receiver.bodies)
    assert answered < 40
    await until(lambda: answered == 40)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for writer in connected:
        writer.close()
    slow.close()


async def test_all_that_waits_for_a_receiver_goes_out_at_one_look(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LOOK_EVERY", 60.0)  # also how long one look may take, which a busy machine may need
    for number in range(20):
        await _queue(bench, receiver, id_=f"msg_{number}")
    await bench.deliver()
    assert len(receiver.bodies) == 20


@pytest.mark.parametrize("attempts", [0, 1, 2])
async def test_a_clock_that_is_put_back_keeps_nothing_waiting_for_as_long(bench: Bench, receiver: Receiver, attempts: int) -> None:
    message = await _queue(bench, receiver)
    receiver.status = 503
    for attempt in range(attempts):
        await bench.deliver()
        bench.keys.clock.now += BACK_OFF[attempt]
    receiver.status = 200
    bench.keys.clock.now -= 7200
    await bench.deliver()
    assert len(receiver.bodies) == attempts + 1, message.next_at
    assert await bench.detection.engine.storage.messages() == []


async def test_notifications_of_the_other_shards_go_out_while_one_is_away(bench: Bench, receiver: Receiver) -> None:
    message = await _queue(bench, receiver)
    partly_away(bench.store).shards = {message.shard + 1}
    await bench.deliver()
    assert [headers["webhook-id"] for headers in receiver.headers] == [message.id]
    assert await bench.detection.engine.storage.messages() == []
