"""Who calls: new networks, programs, models and routes, and whether the new ones come together.

A known network vouches: a program or model that it uses is a change of the application. One that only a
new network uses makes that network a stranger.
"""

from __future__ import annotations

from sidecar.control.anomaly.detectors.amounts import NETWORKS
from sidecar.control.anomaly.detectors.baseline import LATENESS
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Network, Networks, agent_product
from sidecar.control.anomaly.detectors.second import Caller
from sidecar.control.anomaly.detectors.seen import BURST, Seen, Sighting, is_since
from sidecar.control.anomaly.detectors.signals import (
    AGENT_CHANGE,
    DAY,
    ENUMERATION,
    NETWORK_FANOUT,
    NEW_MODEL,
    NEW_NETWORK,
    NEW_ROUTE,
    STRANGER,
    TABLE,
    Signal,
)
from sidecar.control.anomaly.detectors.thresholds import Thresholds


class Met:
    """A caller, looked up: the sightings that each further request of it refreshes."""

    __slots__ = ("agent", "model", "network", "number", "route")

    def __init__(self, number: int, network: Sighting, agent: Sighting, model: Sighting, route: Sighting) -> None:
        self.number = number
        self.network = network
        self.agent = agent
        self.model = model
        self.route = route

    @property
    def is_stranger(self) -> bool:
        """Whether something about this caller has no known network behind it."""
        return self.agent.stranger or self.model.stranger or self.route.stranger


class Identity:
    """Looks callers up in a key's memory and raises what is new about them."""

    def __init__(self, networks: Networks, thresholds: Thresholds) -> None:
        self._networks = networks
        self._thresholds = thresholds

    def meet(self, memory: Memory, caller: Caller, now: int, *, is_served: bool = True) -> tuple[Met, bool]:
        """Look `caller` up; the flag says that a settled key met a new network (a fact about the network, too).

        One who is not served was refused by the hub: a model that he names, and that the key does not use, is only tried.
        """
        address, agent, model, route = caller
        number, thresholds = self._networks.number, self._thresholds
        program = agent_product(agent)
        models = memory.models
        if model and not is_served and number(model) not in models.sightings:
            # It may be misspelt: by itself it says nothing, and it must not push out those that are used.
            models = memory.refused_models
        parts = (
            (memory.agents, number(program), AGENT_CHANGE, program, 0),
            (models, number(model), NEW_MODEL, model if models is memory.models else "", thresholds.model_age),
            (memory.routes, number(route), NEW_ROUTE, route, thresholds.model_age),
        )
        # A roaming key meets new networks every day, but with its own program: one with another program is worth a word.
        usual = all(part[1] in part[0].sightings for part in parts)
        network = self._networks.of(address)
        seen, is_new = self._meet_network(memory, network, now, usual=usual)
        stranger = seen.new_until > now
        met = Met(network.number, seen, *(self._meet(memory, *part, now, from_new_network=stranger) for part in parts))
        if met.model.first == now:
            self.enumeration(memory, now)
        return met, is_new and not memory.networks.is_habit(now, thresholds.roaming_networks)

    def enumeration(self, memory: Memory, now: int) -> None:
        """Models tried for the first time within ten minutes, refused attempts included."""
        thresholds = self._thresholds
        models, refused, since = memory.models, memory.refused_models, now - BURST
        if not memory.is_mature(now, thresholds) or models.is_crowded(now) or refused.is_crowded(now):
            return
        if any(seen.is_habit(now, thresholds.changing_habits, BURST) for seen in (models, refused)):
            return
        # One that was refused, and served at the next attempt, is one.
        twice = sum(number in models.sightings and is_since(sighting.first, since, now) for number, sighting in refused.sightings.items())
        tried = models.begun_since(since, now) + refused.begun_since(since, now) - twice
        if tried >= thresholds.enumeration_models + memory.acknowledged(ENUMERATION, now):
            memory.raise_signal(ENUMERATION, now, f"{tried} models tried for the first time within 10 minutes")

    def settle(self, memory: Memory, now: int) -> None:
        """Believe new networks that behaved like the known ones; to be asked once an hour."""
        if any(name in memory.raised for name in _DISTRUST) or _is_visited(memory, now):
            return
        new = [sighting for sighting in memory.networks.sightings.values() if sighting.new_until > now]
        for sighting in new:
            if now - sighting.first >= self._thresholds.settle_after:
                sighting.new_until = 0
        if new and not any(sighting.new_until > now for sighting in new):
            memory.lower_signal(NEW_NETWORK.name)

    def count_stranger(self, memory: Memory, requests: int, now: int) -> None:
        """Requests of a stranger; it takes a few, over some time, to be more than somebody's trial."""
        if not memory.stranger_requests or not -LATENESS <= now - memory.stranger_since <= DAY:
            memory.stranger_since, memory.stranger_requests = now, 0
        memory.stranger_requests += requests
        lasted = now - memory.stranger_since
        enough = self._thresholds.stranger_requests * (1 + memory.acknowledged(STRANGER, now))
        if memory.stranger_requests >= enough and lasted >= self._thresholds.stranger_seconds:
            evidence = f"{memory.stranger_requests} requests from a new network with a program, model or route that only it uses"
            memory.raise_signal(STRANGER, now, evidence)

    def fan_out(self, memory: Memory, now: int) -> None:
        """Many new networks within ten minutes; asked when a network was met."""
        thresholds = self._thresholds
        since = now - BURST
        fresh = used = 0
        for sighting in memory.networks.sightings.values():
            if is_since(sighting.last, since, now):
                used += 1
                fresh += is_since(sighting.first, now - DAY, now)
        hour = memory.baseline.this_hour
        hour[NETWORKS] = max(hour[NETWORKS], used)
        usual = memory.baseline.usual[NETWORKS]
        factor = thresholds.fanout_over_peak * (1 + memory.acknowledged(NETWORK_FANOUT, now) / 2)
        if fresh >= thresholds.fanout_networks and used > factor * usual and memory.is_mature(now, thresholds):
            memory.raise_signal(NETWORK_FANOUT, now, f"{used} networks within 10 minutes, {fresh} of them new; at most {usual} before")

    def _meet_network(self, memory: Memory, network: Network, now: int, *, usual: bool) -> tuple[Sighting, bool]:
        sighting = memory.networks.find(network.number, network.without_place)
        if sighting is not None:
            sighting.last = now
            return sighting, False
        thresholds = self._thresholds
        roams = memory.networks.is_habit(now, max(0, thresholds.roaming_networks - memory.acknowledged(NEW_NETWORK, now)), BURST)
        sighting = memory.networks.meet(network.number, now)
        if network.is_trusted or (roams and usual) or not memory.is_mature(now, thresholds):
            return sighting, False
        sighting.new_until = now + DAY
        memory.raise_new(NEW_NETWORK, now, "first use from", network.name)
        return sighting, True

    def _meet(
        self, memory: Memory, seen: Seen, number: int, signal: Signal, text: str, age: int, now: int, *, from_new_network: bool
    ) -> Sighting:
        sighting = seen.sightings.get(number)
        if sighting is not None:
            sighting.last = now
            if not from_new_network:
                sighting.stranger = False
            return sighting
        thresholds = self._thresholds
        habit = seen.is_habit(now, max(0, thresholds.changing_habits - memory.acknowledged(signal, now)), BURST) or seen.is_crowded(now)
        sighting = seen.meet(number, now)
        if text and not habit and memory.is_mature(now, thresholds):
            sighting.stranger = from_new_network
            if memory.is_mature(now, thresholds, age):
                memory.raise_new(signal, now, f"{_NOUN[signal.name]} never used before:", text)
        return sighting


def _is_visited(memory: Memory, now: int) -> bool:
    """Whether something was used within a day for which no known network vouches. Believed, the network that brought it would."""
    parts = (memory.agents, memory.models, memory.routes)
    return any(sighting.stranger and sighting.last > now - DAY for seen in parts for sighting in seen.sightings.values())


_NOUN = {AGENT_CHANGE.name: "program", NEW_MODEL.name: "model", NEW_ROUTE.name: "route"}
_DISTRUST = tuple(signal.name for signal in TABLE if signal.distrusts)
