"""What the detectors see: one key's traffic, summed over a second. They never look at a single request.

A caller is counted as one tuple of address, agent, model and route, so that a detector can tell
whether the new model came from the new network or from the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

import msgspec

from sidecar.control.anomaly.detectors.amounts import PLACES, REFUSED_OUTCOMES, SERVED_OUTCOMES, SUMMED
from sidecar.control.anomaly.detectors.networks import agent_product
from sidecar.control.anomaly.detectors.signals import MINUTE
from sidecar.control.anomaly.detectors.windows import STEP
from sidecar.control.totals.rows import Row

Caller = tuple[str, str, str, str]
"""Client address, User-Agent, model, route; each as the event has it, empty when unknown."""

Refusal = tuple[str, str, str]
"""Client address, refusal code, model that was asked for."""

NO_KEY = ""
"""`key_id` of requests whose credential names no key."""

CAPACITY = 30_000
"""Sums by minute that wait at most, those of a few minutes for many keys."""

TOLD_APART = 250
"""Callers, and refusals, of one sum that are told apart by all that is known of them; further ones by ever less.

Agents, models and, of IPv6, addresses are the client's choice: one that takes others each time must not fill the memory.
"""

_MOST = 4 * TOLD_APART
_HUB_REFUSED = "4xx"
"""The reason of a client's error that the hub told; of one that was never forwarded it is the refusal's code."""

_Slot = str | tuple[str, int]
"""A key's id, or that and a minute."""

_READ = tuple((amount.place, amount.read) for amount in SUMMED)


def _nothing() -> list[int]:
    return [0] * PLACES


class Second(msgspec.Struct, gc=False):
    """Sums of one key's finished requests; `time` is the last second they cover, Unix time."""

    key_id: str
    time: int
    amounts: list[int] = msgspec.field(default_factory=_nothing)
    """By the places of `amounts`."""
    in_flight: int = 0
    """The most requests open at a time, over all workers; 0 when nobody looked."""
    callers: dict[Caller, int] = {}
    """Served requests by caller; 0 for one who asked, and was refused by the hub."""
    refusals: dict[Refusal, int] = {}

    def add(self, other: Second) -> None:
        """Take a later second of the same key in."""
        self.time = max(self.time, other.time)
        for place, amount in enumerate(other.amounts):
            self.amounts[place] += amount
        self.in_flight = max(self.in_flight, other.in_flight)
        for caller, count in other.callers.items():
            self.count_caller(caller, count)
        for refusal, count in other.refusals.items():
            self.count_refusal(refusal, count)

    def count_caller(self, caller: Caller, count: int) -> None:
        """Add served requests of a caller, 0 to note him.

        Of too many the agent goes down to its program, then is left out; the last are not noted.
        """
        callers = self.callers
        if len(callers) >= TOLD_APART and caller not in callers:
            client, agent, model, route = caller
            # No detector looks at more of an agent than its program.
            caller = (client, agent_product(agent) if len(callers) < 2 * TOLD_APART else "", model, route)
            if len(callers) >= _MOST and caller not in callers:
                return
        callers[caller] = callers.get(caller, 0) + count

    def count_refusal(self, refusal: Refusal, count: int) -> None:
        """Add refused requests. Of too many the model is left out, then the address too; all are counted, for guesses are added up."""
        refusals = self.refusals
        if len(refusals) >= TOLD_APART and refusal not in refusals:
            client, code, _ = refusal
            refusal = (client, code, "")
            if len(refusals) >= _MOST and refusal not in refusals:
                refusal = ("", code, "")
        refusals[refusal] = refusals.get(refusal, 0) + count


class SecondSums:
    """Sums requests by key until they are taken, and what comes of more than a minute at once by minute:
    added up, it would look like one great burst. When nobody takes them for long, the oldest are forgotten."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._sums: dict[_Slot, tuple[int, Second]] = {}
        """When the sums of each slot began, and the sums."""

    def count(self, row: Row) -> None:
        """Count the finished requests of a row under its key, or under `NO_KEY`."""
        if not row.requests:
            # What the hub's ledger adds to calls of some time ago tells nothing about this second.
            return
        traits = row.traits
        time = int(row.last)
        slot = self._slot(row.key_id, time)
        known = self._sums.get(slot)
        if known is None:
            sums = Second(row.key_id, time, callers={}, refusals={})
            self._begin(slot, sums)
        else:
            sums = known[1]
            if time > sums.time:
                sums.time = time
        amounts = sums.amounts
        for place, read in _READ:
            amounts[place] += read(row)
        is_served = traits.outcome in SERVED_OUTCOMES
        if is_served or (traits.outcome == "client_error" and traits.reason == _HUB_REFUSED):
            # How often the hub refused says nothing of volume; who asked, and for which models, tells of somebody who tries.
            each = row.callers
            while each is not None:
                sums.count_caller((each.client, each.agent, traits.model, traits.route), each.requests if is_served else 0)
                each = each.after
        elif traits.outcome in REFUSED_OUTCOMES and traits.ending != "revoked":
            # What a change of the key cut off had been let in: nobody presented anything after it.
            each = row.callers
            while each is not None:
                sums.count_refusal((each.client, traits.reason, traits.model), each.requests)
                each = each.after

    def add(self, second: Second) -> None:
        """Take in sums that somebody else made, a replica of another version perhaps; its giver must not change them any more."""
        amounts = second.amounts
        if len(amounts) != PLACES:
            second.amounts = (amounts + _nothing())[:PLACES]
        slot = self._slot(second.key_id, second.time)
        known = self._sums.get(slot)
        if known is None:
            self._begin(slot, second)
        else:
            known[1].add(second)

    def in_flight(self, counts: Mapping[str, int]) -> None:
        """Take in how many requests each key has open now, over all workers; only keys with traffic matter."""
        for key_id, count in counts.items():
            known = self._sums.get(key_id)
            if known is not None and count > known[1].in_flight:
                known[1].in_flight = count

    def take(self, begun_by: int, at_most: int) -> list[Second]:
        """Take out the sums that began at `begun_by` or before, oldest first."""
        due: dict[_Slot, Second] = {}
        for slot, (begun, second) in self._sums.items():
            # What began long after is of a clock that was put back since: it would hold up all behind it.
            if begun_by < begun <= begun_by + 2 * STEP or len(due) >= at_most:
                break
            due[slot] = second
        for slot in due:
            del self._sums[slot]
        return sorted(due.values(), key=_time)

    def take_all(self) -> list[Second]:
        """Take out everything."""
        taken = [second for _, second in self._sums.values()]
        self._sums.clear()
        return taken

    def key_ids(self) -> Iterable[str]:
        """Ids of the keys that have sums, `NO_KEY` included."""
        return dict.fromkeys(second.key_id for _, second in self._sums.values())

    def __len__(self) -> int:
        return len(self._sums)

    def _begin(self, slot: _Slot, second: Second) -> None:
        if not isinstance(slot, str) and len(self._sums) >= self._capacity:
            # Many at once: the way to the first grows with each that is gone before it.
            for oldest in list(islice(self._sums, self._capacity // 10)):
                del self._sums[oldest]
        self._sums[slot] = (second.time, second)

    def _slot(self, key_id: str, time: int) -> _Slot:
        known = self._sums.get(key_id)
        return key_id if known is None or -MINUTE < time - known[0] < MINUTE else (key_id, time // MINUTE)


def _time(second: Second) -> int:
    return second.time
