"""One key under watch: takes its traffic in, step by step, and keeps its memory and its signals.

Time is what the traffic says; nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.control.anomaly.detectors import conduct
from sidecar.control.anomaly.detectors.amounts import IN_FLIGHT, SERVED, TOKENS
from sidecar.control.anomaly.detectors.identity import Identity, Met
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.second import Caller, Second
from sidecar.control.anomaly.detectors.signals import DAY, HOUR, MINUTE
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.anomaly.detectors.volume import Volume

_FAMILIAR = 32
_CONDUCT_EVERY = MINUTE

OnNewNetwork = Callable[[str, str, int], None]
"""Told the key, the address and the time when a settled key is used from a network for the first time."""


class Detectors:
    """What all keys share: thresholds and the look-up of networks."""

    def __init__(self, networks: Networks, thresholds: Thresholds, on_new_network: OnNewNetwork) -> None:
        self.networks = networks
        self.thresholds = thresholds
        self.identity = Identity(networks, thresholds)
        self.volume = Volume(thresholds)
        self.on_new_network = on_new_network


class Watch:
    """A key's memory and the callers that need no second look."""

    __slots__ = ("_behind_at", "_behind_since", "_familiar", "_is_mature", "_looked_at", "key_id", "memory")

    def __init__(self, key_id: str, memory: Memory) -> None:
        self.key_id = key_id
        self.memory = memory
        self._familiar: dict[Caller, Met] = {}
        self._is_mature = False
        self._looked_at = 0
        self._behind_since = 0
        """When traffic began to come from before the key's last use; 0 while it does not."""
        self._behind_at = 0
        """When it last came from there."""

    def step(self, second: Second, detectors: Detectors, *, learn: bool = True) -> None:
        """Take in some seconds of traffic. Without `learn` they do not become what is usual."""
        memory, now = self.memory, second.time
        baseline = memory.baseline
        if now // HOUR > baseline.hour or baseline.is_ahead_of(now):
            baseline.advance(now, learn=learn)
            self._familiar.clear()
        strange = self._identify(second, detectors) if second.callers else 0
        memory.window.add(now, second.amounts, strange)
        baseline.count(second.amounts, memory.window)
        # Once mature a key stays it; until then it is asked each time.
        if self._is_mature or memory.is_mature(now, detectors.thresholds):
            self._is_mature = True
            detectors.volume.judge(memory, now, second.amounts[TOKENS])
        if second.refusals or abs(now - self._looked_at) >= _CONDUCT_EVERY or second.in_flight > baseline.this_hour[IN_FLIGHT]:
            self._look_at_conduct(second, detectors)

    def reset(self) -> None:
        """Look at every caller anew: what is known of them has changed."""
        self._familiar.clear()

    def put_right(self, now: int) -> bool:
        """Correct a last use, and what else a clock told which was ahead; whether it was.

        It is when traffic last came from behind, once there was a day of silence: until then this clock may be the wrong one.
        """
        # Clocks of replicas differ by seconds: after late traffic of one, the other's last use is the true one.
        if self.memory.last_used - now <= HOUR or not 0 < self._behind_at <= now - DAY:
            return False
        self.memory.put_back(self._behind_at)
        return True

    def _identify(self, second: Second, detectors: Detectors) -> int:
        """How many served requests came from new networks."""
        memory, now = self.memory, second.time
        strange = unvouched = 0
        met_network = False
        self.put_right(now)
        if now - memory.last_used > detectors.thresholds.dormant_after:
            conduct.dormant(memory, now, detectors.thresholds)
        for caller, count in second.callers.items():
            met = self._familiar.get(caller)
            if met is None:
                met, is_new = detectors.identity.meet(memory, caller, now, is_served=count > 0)
                met_network = True
                if is_new:
                    detectors.on_new_network(self.key_id, caller[0], now)
                if count and met.network.new_until <= now and not met.is_stranger and len(self._familiar) < _FAMILIAR:
                    self._familiar[caller] = met
            else:
                # The rest of the caller is refreshed once an hour, when everybody is looked at anew.
                met.network.last = now
            if met.network.new_until > now:
                strange += count
                if met.is_stranger:
                    unvouched += count
        memory.requests += second.amounts[SERVED]
        self._used(now)
        if unvouched:
            detectors.identity.count_stranger(memory, unvouched, now)
        if met_network:
            detectors.identity.fan_out(memory, now)
        return strange

    def _used(self, now: int) -> None:
        """Note the key's last use. A clock that was put back is believed after a day: else, minutes of a wrong one look like silence."""
        memory = self.memory
        if now >= memory.last_used:
            memory.last_used, self._behind_since, self._behind_at = now, 0, 0
            return
        self._behind_at = now
        if not 0 < self._behind_since <= now:
            self._behind_since = now
        elif now - self._behind_since >= DAY:
            memory.put_back(now)

    def _look_at_conduct(self, second: Second, detectors: Detectors) -> None:
        memory, now = self.memory, second.time
        self._looked_at = now
        if second.refusals:
            self._refused_models(second, detectors)
        if memory.raised:
            detectors.identity.settle(memory, now)
        conduct.judge(memory, second, detectors.networks, detectors.thresholds)

    def _refused_models(self, second: Second, detectors: Detectors) -> None:
        memory, now = self.memory, second.time
        for _, code, model in second.refusals:
            number = detectors.networks.number(model)
            if code != "model_not_allowed" or number in memory.models.sightings or number in memory.refused_models.sightings:
                continue
            memory.refused_models.meet(number, now)
            detectors.identity.enumeration(memory, now)
