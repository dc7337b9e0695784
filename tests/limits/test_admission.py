"""The limiter: who asks when, and what becomes of it when workers, clients and the store fail; a real store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.keys.record import Key, Limits, Period, Quota
from sidecar.limits import admission as module
from sidecar.limits.admission import Limiter
from sidecar.limits.decision import UNLIMITED, Admission
from sidecar.limits.lane import Lane
from sidecar.limits.turn import LEASE
from sidecar.store import names
from sidecar.store.client import Store, StoreUnavailable, connect
from sidecar.worker.drive import Drive
from tests.support.cluster import cluster, cluster_settings
from tests.support.store import Server, open_store, until


class Counting:
    """A store that counts trips and the calls in each."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.trips: list[int] = []

    async def run_many(self, calls: Sequence[Any]) -> list[Any]:
        self.trips.append(len(calls))
        return await self.store.run_many(calls)


def key(name: str = "a", **fields: Any) -> Key:
    return Key(id=f"key_{name:0>16}", name=name, created_at=0, **fields)


@pytest.fixture
async def limiter(store: Store) -> AsyncIterator[Limiter]:
    limiter = Limiter(store, "enforce")
    yield limiter
    await limiter.close()


@pytest.fixture
async def background() -> AsyncIterator[Callable[[Limiter], None]]:
    tasks: list[asyncio.Task[None]] = []
    yield lambda limiter: tasks.append(asyncio.create_task(limiter.run()))
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def held(store: Store, key: Key) -> int:
    return int(await store.call("ZCARD", names.limit(key.id, "holds")))


async def test_a_key_without_limits_asks_nobody(store: Store) -> None:
    counting = Counting(store)
    assert await Limiter(counting, "enforce").admit(key(), "r", 10) is UNLIMITED
    assert await Limiter(counting, "off").admit(key(limits=Limits(rpm=1)), "r", 10) is UNLIMITED
    assert counting.trips == []


async def test_those_who_ask_in_one_turn_share_a_trip(store: Store) -> None:
    counting = Counting(store)
    limiter = Limiter(counting, "enforce")
    keys = [key(str(n), limits=Limits(rpm=3)) for n in range(10)]
    answers = await asyncio.gather(*(limiter.admit(each, "r", 1) for each in keys for _ in range(4)))
    assert counting.trips == [10]
    assert sum(answer.allowed for answer in answers) == 30


async def test_a_client_that_takes_turns_is_never_refused(store: Store) -> None:
    """The end of a request is known to the store before the same worker asks again: in the same trip."""
    counting = Counting(store)
    limiter = Limiter(counting, "enforce")
    only = key(limits=Limits(max_concurrency=1))
    for _ in range(100):
        answer = await limiter.admit(only, "r", 1)
        assert answer.allowed
        limiter.release(answer, 1, 1)
        limiter.release(answer, 1, 1)
    assert counting.trips == [1] * 100
    await limiter.close()
    assert counting.trips == [1] * 101
    assert await held(store, only) == 0


@pytest.fixture
async def two_workers(valkey: Server, store: Store) -> AsyncIterator[list[Limiter]]:
    """Limiters of one store."""
    other = await open_store(valkey)
    workers = [Limiter(store, "enforce"), Limiter(other, "enforce")]
    yield workers
    for worker in workers:
        await worker.close()
    await other.close()


async def take_turns(workers: list[Limiter], only: Key, times: int, estimate: int, used: int) -> None:
    """Requests of `only`, one after the other, at one worker and the other; none is refused."""
    for number in range(times):
        answer = await workers[number % 2].admit(only, "r", estimate)
        assert answer.allowed
        workers[number % 2].release(answer, used, used)


async def test_nor_one_that_takes_turns_between_workers(two_workers: list[Limiter]) -> None:
    await take_turns(two_workers, key(limits=Limits(max_concurrency=1)), 100, 1, 1)


async def test_a_client_that_takes_turns_gets_all_of_its_quota_whatever_is_reserved(two_workers: list[Limiter]) -> None:
    """Before the ledger has any of it; then it is told that the quota is spent, not that it is reserved."""
    only = key(quota=Quota(tokens=1000))
    await take_turns(two_workers, only, 10, 990, 100)
    assert (await two_workers[0].admit(only, "r", 1)).reason == "quota_tokens"


async def test_limits_hold_over_four_hammering_workers(valkey: Server) -> None:
    stores = [await open_store(valkey, timeout=5) for _ in range(4)]
    workers = [Limiter(store, "enforce") for store in stores]
    hammered = key(limits=Limits(rpm=200, max_concurrency=5))
    in_flight, most, admitted, refused = 0, 0, 0, 0

    async def client(worker: Limiter) -> None:
        nonlocal in_flight, most, admitted, refused
        while admitted < 200 and refused < 3000:
            answer = await worker.admit(hammered, "same-id", 10)
            if not answer.allowed:
                refused += 1
                continue
            admitted += 1
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0.001)
            in_flight -= 1
            worker.release(answer, 10, 10)

    await asyncio.gather(*(client(worker) for worker in workers for _ in range(10)))
    assert (admitted, most) == (200, 5)
    assert (await workers[0].admit(hammered, "r", 1)).reason == "rpm"
    for worker, store in zip(workers, stores, strict=True):
        await worker.close()
        await store.close()


async def cancelled_in_a_task(asking: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(asking)
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def cancelled_without_a_task(asking: Coroutine[Any, Any, Any]) -> None:
    drive = Drive(asking, asyncio.get_running_loop())
    assert drive.start()
    drive.cancel()


@pytest.mark.parametrize("cancelled", [cancelled_in_a_task, cancelled_without_a_task])
async def test_a_request_that_is_given_up_while_it_waits_holds_nothing(
    store: Store, limiter: Limiter, cancelled: Callable[[Coroutine[Any, Any, Any]], Awaitable[None]]
) -> None:
    left = key(limits=Limits(max_concurrency=1, tpm=100), quota=Quota(tokens=100))
    await cancelled(limiter.admit(left, "r", 10))

    async def nothing_held() -> bool:
        return await store.call("EXISTS", names.limit(left.id, "counts")) == 1 and await held(store, left) == 0

    await until(nothing_held)


def in_a_task(asking: Coroutine[Any, Any, Any]) -> Callable[[], object]:
    return asyncio.create_task(asking).cancel


def without_a_task(asking: Coroutine[Any, Any, Any]) -> Callable[[], object]:
    drive = Drive(asking, asyncio.get_running_loop())
    assert drive.start()
    return drive.cancel


@pytest.mark.parametrize("begins", [in_a_task, without_a_task])
async def test_nor_does_one_that_is_given_up_in_the_moment_in_which_it_is_admitted(
    store: Store, limiter: Limiter, begins: Callable[[Coroutine[Any, Any, Any]], Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be renewed for as long as the worker lives."""
    left = key(limits=Limits(max_concurrency=1, tpm=100))
    cancel, keep, given_up = begins(limiter.admit(left, "r", 10)), Lane.admit, asyncio.Event()

    def admit(lane: Lane, admission: Admission) -> None:
        # Before whoever asked can go on.
        asyncio.get_running_loop().call_soon(cancel)
        asyncio.get_running_loop().call_soon(given_up.set)
        keep(lane, admission)

    monkeypatch.setattr(Lane, "admit", admit)
    await given_up.wait()
    await asyncio.sleep(0)
    await limiter.close()
    assert not limiter._lanes
    assert await held(store, left) == 0


async def test_requests_under_way_are_renewed(
    store: Store, limiter: Limiter, background: Callable[[Limiter], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.02)
    monkeypatch.setattr(module, "RENEWAL", 0.04)
    background(limiter)
    long = key(limits=Limits(max_concurrency=2), quota=Quota(tokens=1000))
    answer = await limiter.admit(long, "r", 10)
    assert len(answer.holds) == 2
    holds = names.limit(long.id, "holds")
    begin = await store.call("ZSCORE", holds, answer.holds[0])

    async def renewed() -> bool:
        return bool(await store.call("ZSCORE", holds, answer.holds[0]) > begin + 100_000)

    await until(renewed)
    limiter.release(answer, None, 5)
    period, name, _ = answer.quota_period.split("/")

    async def only_what_was_used_is_held() -> bool:
        return [hold.decode() for hold in await store.call("ZRANGE", holds, 0, -1)] == [f"{period}/={name}/5"]

    await until(only_what_was_used_is_held)


@pytest.mark.parametrize("store_timeout", [2.0])
async def test_a_store_that_stops_answering_is_told_what_ended_when_it_is_back(
    valkey: Server, limiter: Limiter, store: Store, background: Callable[[Limiter], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.05)
    background(limiter)
    slots = key(limits=Limits(max_concurrency=3))
    running = await limiter.admit(slots, "r", 1)
    valkey.freeze()
    try:
        answers = await asyncio.gather(*(limiter.admit(slots, "r", 1) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        limiter.release(running, 1, 1)
    finally:
        valkey.thaw()

    # Neither the one that ended meanwhile nor those that got no answer keep a slot until their lease lapses.
    async def all_free() -> bool:
        try:
            return await held(store, slots) == 0
        except StoreUnavailable:
            return False

    await until(all_free, within=LEASE / 2)
    free = await asyncio.gather(*(limiter.admit(slots, "r", 1) for _ in range(4)))
    assert [answer.allowed for answer in free] == [True, True, True, False]


async def test_without_a_store_only_what_is_not_enforced_goes_on(valkey: Server, limiter: Limiter) -> None:
    valkey.kill()
    with pytest.raises(StoreUnavailable):
        await limiter.admit(key(limits=Limits(rpm=1)), "r", 1)
    assert (await limiter.admit(key(limits=Limits(rpm=1), enforcement="shadow"), "r", 1)).allowed


async def test_while_a_reload_changes_the_mode_each_worker_goes_by_its_own(store: Store, limiter: Limiter) -> None:
    once = key(limits=Limits(rpm=1))
    assert [(await limiter.admit(once, "r", 1)).allowed for _ in range(2)] == [True, False]
    watching = Limiter(store, "shadow")
    assert (await watching.admit(once, "r", 1)).shadow == "rpm"
    assert (await limiter.admit(once, "r", 1)).reason == "rpm"
    await watching.close()


async def test_a_fault_in_the_limiter_leaves_nobody_waiting() -> None:
    class Broken:
        async def run_many(self, calls: Sequence[Any]) -> list[Any]:
            raise ZeroDivisionError

    # The loop tells of the fault itself, for nobody waits for the trip.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    limiter = Limiter(Broken(), "enforce")
    with pytest.raises(StoreUnavailable):
        await limiter.admit(key(limits=Limits(rpm=1)), "r", 1)
    await limiter.close()


async def test_limits_hold_in_a_cluster(tmp_path: Path) -> None:
    async with cluster(tmp_path) as servers:
        store = await connect(cluster_settings(servers), tmp_path, timeout=2)
        limiter = Limiter(store, "enforce")
        keys = [key(str(n), limits=Limits(rpm=3, max_concurrency=2), quota=Quota(tokens=1000)) for n in range(12)]
        answers = await asyncio.gather(*(limiter.admit(each, "r", 1) for each in keys for _ in range(4)))
        assert sum(answer.allowed for answer in answers) == 24
        for answer in answers:
            limiter.release(answer, 1, 1)
        answers = await asyncio.gather(*(limiter.admit(each, "r", 1) for each in keys for _ in range(2)))
        assert sum(answer.allowed for answer in answers) == 12
        for answer in filter(lambda answer: answer.allowed, answers):
            limiter.withdraw(answer)
            limiter.release(answer, 0, 0)
        answers = await asyncio.gather(*(limiter.admit(each, "r", 1) for each in keys for _ in range(2)))
        assert sum(answer.allowed for answer in answers) == 12
        await limiter.close()
        await store.close()


DAY = 86_400.0


@pytest.mark.parametrize("off", [-30, -3, -2, -1, 2, 3, 30])
@pytest.mark.parametrize("period", ["day", "week"])
async def test_limits_hold_for_a_host_whose_clock_is_wrong_by_days(store: Store, off: int, period: Period) -> None:
    """Such a host offers no period that the store's time is in; once it knows that time it offers the right ones."""
    limiters = [Limiter(store, "enforce", wall_clock=lambda: time.time() + off * DAY), Limiter(store, "enforce")]
    quota = key("q", quota=Quota(requests=5, period=period))
    assert sum([(await limiters[number % 2].admit(quota, "r", 1)).allowed for number in range(14)]) == 5
    open_ones = key("c", limits=Limits(max_concurrency=3), quota=Quota(requests=100, period=period))
    assert sum([(await limiters[0].admit(open_ones, "r", 1)).allowed for _ in range(6)]) == 3
    assert await store.call("PTTL", names.limit(open_ones.id, "counts")) > DAY * 1000


async def test_a_clock_that_is_wrong_by_days_is_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    limiter = Limiter(store, "enforce", wall_clock=lambda: time.time() - 3 * DAY)
    for name in "abc":
        assert (await limiter.admit(key(name, quota=Quota(requests=5, period="day")), "r", 1)).allowed
    told = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert [message.count("72.0 hours apart") for message in told] == [1]
