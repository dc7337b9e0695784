"""Admission of requests of limited keys: one trip to the store for all that ask in a turn of the event loop.

Nothing about limits is decided here, that is the script's (turn.py); here is who asks when. Ends,
withdrawals and renewals go in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sidecar.keys.record import Key
from sidecar.limits.decision import UNLIMITED, Admission
from sidecar.limits.lane import Ask, Lane
from sidecar.limits.turn import Argument, OtherTime, Plan, plan
from sidecar.settings.declaration import Enforcement
from sidecar.store import names
from sidecar.store.client import StoreUnavailable
from sidecar.store.script import Script, load

RENEWAL = 5.0
"""Seconds between renewals; a hold survives four that fail."""
RETRY = 0.5
"""Seconds until ends are tried again when the store is away."""
SECOND_ASK = 0.02
"""Seconds until a request that found no free slot, or all of a quota reserved, asks again, once: the end of the client's
last request may be on its way from another worker, and clients that take turns must not be refused."""
MOST_TRIPS = 8
"""Trips to the store under way at once, but for one that goes apart; beyond that, requests gather."""
MOST_PLANS = 10_000
"""Keys whose plan is remembered."""
WORTH_A_WARNING = 3600.0
"""Seconds by which the two clocks must differ, and their difference must have changed since, before the log tells of it."""

_log = logging.getLogger(__name__)


class Scripts(Protocol):
    """What is needed of the store."""

    async def run_many(self, calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]]) -> list[Any]:
        """One trip; a call that failed has its exception in its place."""


class Limiter:
    """Admits, and gives back. `run` must be running in the background for requests that outlive a lease."""

    def __init__(self, store: Scripts, enforcement: Enforcement, *, wall_clock: Callable[[], float] = time.time) -> None:
        """`enforcement` is the sidecar's own mode."""
        self._enforcement = enforcement
        self._store = store
        self._wall_clock = wall_clock
        self._script = load("limits")
        self._process = secrets.token_hex(4)
        self._serial = itertools.count()
        self._plans: dict[str, tuple[Key, Plan | None]] = {}
        self._lanes: dict[str, Lane] = {}
        self._due: dict[str, Lane] = {}
        self._trips: set[asyncio.Task[None]] = set()
        self._flushing = False
        self._failed: set[int] = set()
        """Shards of which a turn has failed since one was answered."""
        self._ahead = 0.0
        """Seconds by which the store's clock is ahead of this one, as far as that has ever mattered."""

    async def admit(self, key: Key, request_id: str, tokens: int) -> Admission:
        """Ask for admission of one request that is estimated to use `tokens`; counts it if allowed.

        Raises StoreUnavailable, unless nothing of the key is enforced.
        """
        known = self._plan(key)
        if known is None:
            return UNLIMITED
        asked = self._ask(known, request_id, tokens)
        try:
            answer = await asked
            if answer.reason in ("max_concurrency", "quota_reserved"):
                await asyncio.sleep(SECOND_ASK)
                asked = self._ask(known, request_id, tokens)
                answer = await asked
        except StoreUnavailable:
            if known.enforced:
                raise
            return UNLIMITED
        except asyncio.CancelledError:
            # A task that is cancelled cancels what it waits for; requests run without one (worker/drive.py), so it is done here. Else
            # nobody would end what is still admitted.
            if not (asked.cancel() or asked.cancelled()) and asked.exception() is None:
                # Too late, it has been admitted in this turn of the loop.
                self.release(asked.result(), 0, 0)
            raise
        return answer

    def release(self, admission: Admission, tokens: int | None, metered: int) -> None:
        """End a request that was allowed. Never waits, and does nothing the second time.

        `tokens` is what it used (reservation.counted), 0 for a request that the hub refused or that uses
        none, None when it used some that nobody knows: then its estimate counts against `tpm`. `metered` is what its
        event says, which alone counts against a quota.
        """
        lane = self._lanes.get(admission.key_id)
        if lane is None or lane.running.isdisjoint(admission.holds):
            return
        lane.end(admission, tokens, metered, time.monotonic())
        self._schedule(lane)

    def withdraw(self, admission: Admission) -> None:
        """Take back that a request was counted (of `rpm` and of a quota of requests) which came to nothing. Never waits.

        Call it once. It is lost with a turn that fails: said twice, it would take back what others were counted for.
        """
        if admission.counted is None:
            return
        lane = self._lanes.get(admission.key_id)
        if lane is None:
            # Counted only, it holds nothing for which its lane would have been kept.
            _, known = self._plans.get(admission.key_id, (None, None))
            if known is None:
                return
            lane = self._lane(known)
        lane.withdrawing.append(admission.counted)
        self._schedule(lane)

    async def run(self) -> None:
        """Renew what is under way and try again what failed, until cancelled."""
        for tick in itertools.count(1):
            await asyncio.sleep(RETRY)
            renew = tick % round(RENEWAL / RETRY) == 0
            for lane in self._lanes.values():
                if renew:
                    lane.renewing = list(lane.running)
                self._schedule(lane)

    async def close(self, within: float = 1.0) -> None:
        """Say the last ends, waiting at most `within` seconds; what the store is not told lapses with its lease."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._due or self._trips:
                    self._flush()
                    await asyncio.wait(self._trips)

    def _plan(self, key: Key) -> Plan | None:
        known = self._plans.get(key.id)
        # The cache hands out one object for as long as a key does not change.
        if known is not None and known[0] is key:
            return known[1]
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        made = plan(key, self._enforcement)
        self._plans[key.id] = (key, made)
        return made

    def _ask(self, plan: Plan, request_id: str, tokens: int) -> asyncio.Future[Admission]:
        lane = self._lane(plan)
        lane.plan = plan
        # The request's own id may be the client's choice; alone it would let requests share one hold.
        ask = Ask(f"{self._process}{next(self._serial):x}:{request_id}", tokens, asyncio.get_running_loop().create_future())
        lane.asking.append(ask)
        self._schedule(lane)
        return ask.answer

    def _lane(self, plan: Plan) -> Lane:
        lane = self._lanes.get(plan.key_id)
        if lane is None:
            lane = self._lanes[plan.key_id] = Lane(plan, ahead=self._ahead)
        return lane

    def _schedule(self, lane: Lane) -> None:
        if lane.is_busy or not lane.has_work:
            return
        self._due[lane.plan.key_id] = lane
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._due or len(self._trips) >= MOST_TRIPS:
            return
        lanes, self._due = list(self._due.values()), {}
        # A server of a Cluster that is frozen answers after a timeout only, and holds all up that share its trip.
        apart = [lane for lane in lanes if self._has_failed(lane)] if self._failed else []
        if apart:
            self._send(apart)
            lanes = [lane for lane in lanes if not self._has_failed(lane)]
        if lanes:
            self._send(lanes)

    def _send(self, lanes: Sequence[Lane]) -> None:
        now = self._wall_clock()
        calls = [(self._script, lane.plan.names, lane.begin(now)) for lane in lanes]
        trip = asyncio.get_running_loop().create_task(self._trip(lanes, calls))
        self._trips.add(trip)
        trip.add_done_callback(self._landed)

    def _has_failed(self, lane: Lane) -> bool:
        # All keys of a shard are on one server.
        return names.shard_of(lane.plan.key_id) in self._failed

    def _landed(self, trip: asyncio.Task[None]) -> None:
        self._trips.discard(trip)
        if self._due:
            self._flush()

    async def _trip(self, lanes: Sequence[Lane], calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]]) -> None:
        answers: Sequence[Any] = [StoreUnavailable("the trip to the key store was broken off")] * len(lanes)
        try:
            answers = await self._store.run_many(calls)
        except StoreUnavailable as error:
            answers = [error] * len(lanes)
        finally:
            # Whatever happens, nobody is left waiting.
            for lane, answer in zip(lanes, answers, strict=True):
                self._settle(lane, answer)

    def _settle(self, lane: Lane, answer: Any) -> None:
        now = time.monotonic()
        if isinstance(answer, Exception):
            self._failed.add(names.shard_of(lane.plan.key_id))
            self._fail(lane, answer, now)
        else:
            if self._failed:
                self._failed.discard(names.shard_of(lane.plan.key_id))
            try:
                lane.finish(answer, now)
            except OtherTime as error:
                if lane.repeat(error.store_time):
                    self._learn(lane.ahead)
                else:
                    self._fail(lane, error, now)
            self._schedule(lane)
        if lane.is_idle:
            del self._lanes[lane.plan.key_id]

    def _fail(self, lane: Lane, error: Exception, now: float) -> None:
        lane.fail(error, now)
        # Ends wait for the next tick, or a store that is away would be asked without pause.
        if lane.asking:
            self._schedule(lane)

    def _learn(self, ahead: float) -> None:
        if abs(ahead) >= WORTH_A_WARNING and abs(ahead - self._ahead) >= WORTH_A_WARNING:
            _log.warning(
                "the clocks of this host and of the key store are %.1f hours apart; limits go by the store's, mend the wrong one",
                abs(ahead) / 3600,
            )
        self._ahead = ahead
