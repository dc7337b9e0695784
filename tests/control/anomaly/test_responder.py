from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.document import time
from sidecar.control.anomaly.record import Anomaly, Response
from sidecar.control.anomaly.responder import RESPONSES_KEPT
from sidecar.control.audit import Filter
from sidecar.keys.record import Key
from sidecar.settings.declaration import OnAnomaly
from sidecar.store import names
from tests.control.anomaly.conftest import Bench, Receiver
from tests.control.anomaly.life import AWAY, served
from tests.control.support.events import denied, sums_of
from tests.support.keys import change, shape


async def test_a_key_is_disabled_by_its_own_policy_and_the_act_is_on_record(bench: Bench, receiver: Receiver) -> None:
    await bench.create("disable")
    await bench.theft()
    await bench.deliver()
    assert (await bench.read_key()).disabled
    (document,) = await bench.documents()
    (response,) = document["responses"]
    assert (response["action"], response["shadow"]) == ("disable", False)
    assert response["undo"]["path"] == f"/admin/v1/keys/{bench.key.id}/enable"
    assert receiver.bodies[0]["data"]["policy"] == "disable"
    (event,) = [sealed.event for sealed in (await bench.audit.query(Filter(actor="anomaly"), 10)).events]
    assert (event.action, event.target and event.target.id) == ("api_key.disabled", bench.key.id)
    assert "203.0.113.0/24" in event.reason
    assert event.changes["disabled"].new is True


async def test_an_act_that_was_taken_back_is_not_repeated(bench: Bench) -> None:
    await bench.create("disable")
    await bench.theft()
    await bench.keys.repository.update(bench.key.id, change(disabled=False))
    bench.start()
    await bench.theft()
    assert not (await bench.read_key()).disabled


async def test_a_disabled_key_whose_application_goes_on_is_disabled_again_by_the_next_theft(bench: Bench, receiver: Receiver) -> None:
    """What the act itself refuses keeps no page open."""
    await bench.create("disable")
    await bench.theft()
    for _ in range(31 * 6):
        now = bench.now + 590
        bench.detection.engine.observe("spool", [], sums_of(*[denied(bench.key.id, "api_key_disabled", time=float(now))] * 40))
        bench.keys.clock.now = now + 10
        await bench.detection.engine.tick(bench.keys.clock.now)
    assert [one["state"] for one in await bench.documents()] == ["closed"]
    await bench.keys.repository.update(bench.key.id, change(disabled=False))
    for _ in range(6):
        await bench.see(served(bench.now + 1, 4, client="192.0.2.1", agent="wget/1", key=bench.key.id))
    await bench.deliver()
    assert (await bench.read_key()).disabled and len(receiver.bodies) == 2


async def test_a_throttle_ends_and_comes_again_while_the_attack_lasts(bench: Bench) -> None:
    await bench.create("throttle")
    await bench.theft()
    until = (await bench.read_key()).throttled_until
    assert until is not None
    assert 3500 < until - bench.now <= 3600
    assert not (await bench.read_key()).disabled
    bench.keys.clock.now = until + 5
    await bench.theft(2)
    again = (await bench.read_key()).throttled_until
    assert again is not None
    assert again > until


@pytest.mark.parametrize("policy", ["observe", "notify"])
async def test_a_throttle_does_not_come_again_when_its_key_asks_for_less(bench: Bench, policy: OnAnomaly) -> None:
    await bench.create("throttle")
    await bench.theft()
    until = (await bench.read_key()).throttled_until
    assert until is not None
    await bench.keys.repository.update(bench.key.id, lambda key: replace(key, on_anomaly=policy, throttled_until=None))
    bench.keys.clock.now = until + 5
    await bench.theft(3)
    assert (await bench.read_key()).throttled_until is None
    (document,) = await bench.documents()
    assert (document["policy"], len(document["responses"])) == (policy, 1)


async def test_a_throttle_that_was_taken_back_does_not_come_again(bench: Bench) -> None:
    """As with a key that was disabled: the signals are up for a day, whoever calls."""
    await bench.create("throttle")
    await bench.theft()
    until = (await bench.read_key()).throttled_until
    assert until is not None
    await bench.keys.repository.update(bench.key.id, lambda key: replace(key, throttled_until=None))
    bench.keys.clock.now = until + 5
    await bench.theft(2)
    bench.start()
    bench.keys.clock.now += 7200
    await bench.theft(2)
    assert (await bench.read_key()).throttled_until is None
    (document,) = await bench.documents()
    assert [(response["action"], response["until"]) for response in document["responses"]] == [("throttle", None)]


async def test_a_throttle_that_comes_again_for_weeks_does_not_fill_the_record(bench: Bench) -> None:
    bench.start(throttle_for=1.0)
    await bench.create("throttle")
    await bench.theft()
    (document,) = await bench.documents()
    first = document["responses"][0]["at"]
    for _ in range(RESPONSES_KEPT + 5):
        bench.keys.clock.now += 2
        await bench.detection.engine.tick(bench.keys.clock.now)
    (document,) = await bench.documents()
    times = [response["at"] for response in document["responses"]]
    assert len(times) == RESPONSES_KEPT
    assert times == sorted(times) and (times[0], times[-1]) == (first, time(bench.keys.clock.now))


async def test_what_is_configured_for_all_stays_a_shadow_until_it_is_told_otherwise(bench: Bench, receiver: Receiver) -> None:
    bench.start(on_anomaly="disable")
    await bench.create(None)
    await bench.theft()
    await bench.deliver()
    assert not (await bench.read_key()).disabled
    (document,) = await bench.documents()
    assert [(response["action"], response["shadow"], response["undo"]) for response in document["responses"]] == [("disable", True, None)]
    assert len(receiver.bodies) == 1


async def test_without_shadow_it_is_done(bench: Bench) -> None:
    bench.start(on_anomaly="disable", shadow=False)
    await bench.create(None)
    await bench.theft()
    assert (await bench.read_key()).disabled


async def test_a_key_that_is_revoked_meanwhile_is_said_to_be_beyond_reach(bench: Bench) -> None:
    await bench.create("disable")
    engine = bench.detection.engine
    await bench.theft(2)
    await bench.keys.repository.revoke(bench.key.id)
    await bench.theft(4)
    (document,) = await bench.documents()
    assert [bool(response["failed"]) for response in document["responses"]] == [True]
    assert bench.key.id in engine.observer.episodes.open


@pytest.mark.parametrize("own", ["observe", "notify"])
async def test_a_key_can_ask_for_less_than_the_rest(bench: Bench, own: str) -> None:
    bench.start(on_anomaly="disable", shadow=False)
    await bench.create(None)

    def change(key: Key) -> Key:
        return replace(key, on_anomaly="observe" if own == "observe" else "notify")

    await bench.keys.repository.update(bench.key.id, change)
    await bench.theft()
    assert not (await bench.read_key()).disabled


async def test_an_act_that_a_crash_prevented_is_done_after_the_restart(bench: Bench) -> None:
    await bench.create("disable")

    async def crash(anomaly: Anomaly) -> None:
        raise RuntimeError("killed")

    bench.detection.engine._consequences._responder.respond = crash  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await bench.theft()
    assert not (await bench.read_key()).disabled
    bench.start()
    await bench.see(served(bench.now, 1, client=AWAY, agent="curl/8", key=bench.key.id))
    assert (await bench.read_key()).disabled


async def test_an_act_that_a_full_disk_keeps_off_the_record_waits_and_stops_nothing(bench: Bench) -> None:
    await bench.create("disable")
    with bench.full_disk():
        await bench.theft()
    assert not (await bench.read_key()).disabled, "no act without a record"
    (document,) = await bench.documents()
    assert document["responses"] == [] and document["level"] == "page"
    await bench.see(served(bench.now + 1, 1, key=bench.key.id))
    assert (await bench.read_key()).disabled


async def test_acts_that_wait_for_a_disk_are_told_once_each(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.create("disable")
    await bench.theft()
    (anomaly,) = bench.detection.engine.observer.episodes.open.values()
    await bench.keys.repository.update(bench.key.id, lambda key: replace(key, disabled=False))
    other = (await bench.keys.repository.create(shape("other", on_anomaly="disable"))).key
    waiting = [replace(anomaly, responses=[]), replace(anomaly, id="anm_other", key_id=other.id, responses=[])]
    responder = bench.detection.engine._consequences._responder
    with bench.full_disk():
        for _ in range(5):
            for one in waiting:
                await responder.respond(one)
    assert [record.message.split()[2] for record in caplog.records if "waits" in record.message] == [bench.key.id, other.id]
    assert not any(one.responses for one in waiting)
    for one in waiting:
        await responder.respond(one)
    assert all(one.responses for one in waiting)


@pytest.mark.parametrize("policy", ["throttle", "disable"])
async def test_a_key_that_is_revoked_at_the_last_moment_gets_one_sentence_and_no_record(bench: Bench, policy: OnAnomaly) -> None:
    await bench.create(policy)
    await bench.theft(2)
    await bench.keys.repository.revoke(bench.key.id)
    await bench.theft(4)
    for _ in range(3):
        await bench.see(served(bench.now + 3600, 4, client=AWAY, agent="curl/8", key=bench.key.id))
    (document,) = await bench.documents()
    (response,) = document["responses"]
    assert (response["action"], response["failed"], response["until"]) == (policy, "the key is revoked", None)
    await bench.audit.settle()
    assert [sealed.event for sealed in (await bench.audit.query(Filter(actor="anomaly"), 10)).events] == []


async def test_a_throttled_key_that_is_revoked_is_let_be(bench: Bench) -> None:
    await bench.create("throttle")
    await bench.theft()
    await bench.keys.repository.revoke(bench.key.id)
    for _ in range(5):
        await bench.see(served(bench.now + 3600, 4, client=AWAY, agent="curl/8", key=bench.key.id))
    (document,) = await bench.documents()
    assert [response["failed"] for response in document["responses"]] == [None, "the key is revoked"]
    await bench.audit.settle()
    events = [sealed.event for sealed in (await bench.audit.query(Filter(actor="anomaly"), 10)).events]
    assert [(event.action, event.outcome) for event in events] == [("api_key.throttled", "success")]


def test_a_throttle_that_an_older_version_noted_as_failed_is_not_due_again(bench: Bench) -> None:
    failed = Response("throttle", False, 1.0, until=2.0, failed="key_1")
    anomaly = Anomaly(
        id="anm_1", subject="key", key_id="key_1", key_name="", source="", level="page", score=6, started_at=0.0, updated_at=0.0,
        paged_at=1.0, policy="throttle", responses=[failed],
    )  # fmt: skip
    responder = bench.detection.engine._consequences._responder
    assert not responder.is_due(anomaly, 3.0, pages=True)
    anomaly.responses = [replace(failed, failed="")]
    assert responder.is_due(anomaly, 3.0, pages=True)


async def test_a_key_that_says_it_is_throttled_for_ever_is_throttled_as_any(bench: Bench) -> None:
    """By hand, in milliseconds: a time beyond the calendar."""
    await bench.create("throttle")
    await bench.keys.repository.update(bench.key.id, lambda key: replace(key, throttled_until=1.8e15))
    await bench.theft()
    until = (await bench.read_key()).throttled_until
    assert until is not None and until < bench.now + 3600
    events = [sealed.event for sealed in (await bench.audit.query(Filter(actor="anomaly"), 10)).events]
    assert events[0].changes["throttled_until"].old == "9999-12-31T23:59:59Z"


async def test_a_key_whose_record_cannot_be_read_keeps_no_other_from_being_watched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.create("disable")
    await bench.theft(2)
    (began,) = await bench.documents()
    strange = bench.key
    other = (await bench.keys.repository.create(shape("other"))).key
    record = names.key(strange.id), "record"
    await bench.store.call("HSET", *record, (await bench.store.call("HGET", *record)).replace(b'"disable"', b'"quarantine"'))
    get_many = bench.keys.repository.get_many

    async def readable(key_ids: list[str]) -> list[Key | None]:
        return [None if key_id == strange.id else (await get_many([key_id]))[0] for key_id in key_ids]

    monkeypatch.setattr(bench.keys.repository, "get_many", readable)
    bench.start(on_anomaly="disable", shadow=False)
    await bench.theft(6)
    await bench.see(served(bench.now + 1, key=other.id))
    assert other.id in bench.detection.engine.observer.watches
    (document,) = await bench.documents()
    assert (document["id"], document["level"], document["policy"]) == (began["id"], "page", "disable")
    assert [response["failed"] for response in document["responses"]] == ["the key is gone, or its record cannot be read"]
