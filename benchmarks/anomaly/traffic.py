"""From rates to what the detectors see: requests by ten seconds, with networks, programs, models and tokens.

Networks and programs are synthetic; how often they change is declared here (`Churn`) and is part of the result.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.anomaly.background import WINDOW, Client
from sidecar.control.anomaly.detectors.amounts import PLACES, REFUSED, SERVED, TOKENS
from sidecar.control.anomaly.detectors.second import Caller, Refusal, Second

STEP = 10
DAY = 86400
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Churn:
    """How often things of a key change, each as a mean number a day."""

    network: float
    version: float = 1 / 7
    program: float = 1 / 45
    model: float = 1 / 30
    trial: float = 1 / 45
    """Somebody tries the key by hand: another network, another program, a handful of requests."""


STEADY, MOVING, ROAMING = Churn(1 / 20), Churn(1 / 4), Churn(4.0)
KINDS = ((0.75, STEADY), (0.15, MOVING), (0.10, ROAMING))


@dataclass
class Flow:
    """Requests of one key: count by ten-second step and caller; steps need not be in order."""

    steps: Ints
    counts: Ints
    callers: list[Caller]
    which: Ints
    """Index into `callers`, one for each row."""
    tokens: Ints

    def cut(self, start: int, stop: int) -> Flow:
        """The part in [start, stop)."""
        inside = (self.steps >= start) & (self.steps < stop)
        return Flow(self.steps[inside], self.counts[inside], self.callers, self.which[inside], self.tokens[inside])


@dataclass
class Person:
    """Who a key's application is at a moment."""

    networks: list[str]
    program: str
    version: int
    models: list[str]
    routes: list[str]

    def callers(self) -> list[Caller]:
        """Each combination that it uses."""
        agent = f"{self.program}/{self.version}.0"
        return [(network, agent, model, route) for network in self.networks for model in self.models for route in self.routes]


@dataclass
class Key:
    """A key under test: its client, its application over time, and the size of its requests."""

    key_id: str
    client: Client
    churn: Churn
    person: Person
    input_mean: float
    output_mean: float


@dataclass
class History:
    """A key's ordinary traffic, and who its application was from which step on."""

    key: Key
    flows: list[Flow] = field(default_factory=list)
    persons: list[tuple[int, Person]] = field(default_factory=list)

    def person(self, step: int) -> Person:
        """The application at `step`."""
        return next(person for start, person in reversed(self.persons) if start <= step)

    def between(self, start: int, stop: int) -> list[Flow]:
        """The flows, cut to [start, stop)."""
        return [flow.cut(start, stop) for flow in self.flows]


def address(rng: np.random.Generator) -> str:
    """A random public address."""
    return f"{rng.integers(11, 200)}.{rng.integers(256)}.{rng.integers(256)}.{rng.integers(1, 255)}"


PROGRAMS = ("openai-python", "python-httpx", "node-fetch", "go-http-client", "langchain", "okhttp", "axios", "ruby-openai")
MODELS = tuple(f"vendor-{vendor}/model-{size}" for vendor in "abcd" for size in ("small", "medium", "large"))
ROUTES = ("chat_completions", "embeddings", "images", "responses")


def make_key(key_id: str, client: Client, rng: np.random.Generator) -> Key:
    """A key with a drawn application."""
    churn = KINDS[int(rng.choice(len(KINDS), p=[share for share, _ in KINDS]))][1]
    person = Person(
        [address(rng) for _ in range(rng.integers(1, 4))],
        str(rng.choice(PROGRAMS)),
        int(rng.integers(1, 9)),
        [str(model) for model in rng.choice(MODELS, rng.integers(1, 4), replace=False)],
        [str(route) for route in rng.choice(ROUTES, rng.integers(1, 3), replace=False)],
    )
    return Key(key_id, client, churn, person, float(rng.lognormal(6.5, 0.8)), float(rng.lognormal(5.5, 0.8)))


def ordinary(key: Key, rng: np.random.Generator) -> History:
    """The key's own traffic over the whole background; the application changes on the way."""
    steps, counts = scattered(key.client, rng)
    history = History(key)
    end = len(key.client.rate) * WINDOW // STEP
    start = 0
    person = key.person
    while start < end:
        history.persons.append((start, copy.deepcopy(person)))
        changes = {name: rng.exponential(1 / getattr(key.churn, name)) for name in ("network", "version", "program", "model", "trial")}
        what = min(changes, key=lambda name: changes[name])
        stop = min(end, start + max(1, int(changes[what] * DAY / STEP)))
        inside = (steps >= start) & (steps < stop)
        history.flows.append(spread(key, steps[inside], counts[inside], person.callers(), rng))
        if stop < end and what == "trial":
            history.flows.append(_trial(key, stop, person, rng))
        _change(person, what, rng)
        start = stop
    return history


def scattered(client: Client, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Requests by ten-second step: over-dispersed counts by minute, spread evenly within the minute."""
    minutes = WINDOW // 60
    mean = np.repeat(client.rate * 60, minutes)
    counts = over_dispersed(mean, np.repeat(client.dispersion, minutes), rng)
    split = rng.multinomial(counts, [STEP / 60] * (60 // STEP)).reshape(-1)
    steps = np.flatnonzero(split)
    return steps, split[steps]


def over_dispersed(mean: NDArray[np.float64], dispersion: NDArray[np.float64], rng: np.random.Generator) -> Ints:
    """Negative binomial counts with variance `dispersion` × mean (Poisson where that is 1)."""
    extra = np.maximum(dispersion - 1, 1e-6)
    rate = rng.gamma(np.maximum(mean / extra, 1e-9), extra)
    return rng.poisson(rate).astype(np.int64)


def steady(key: Key, start: int, seconds: int, rate: float, callers: list[Caller], rng: np.random.Generator) -> Flow:
    """`rate` requests a second for some time, from `callers` alike; times are steps."""
    counts = rng.poisson(rate * STEP, max(1, seconds // STEP))
    steps = np.flatnonzero(counts)
    return spread(key, steps + start, counts[steps], callers, rng)


def spread(key: Key, steps: Ints, counts: Ints, callers: list[Caller], rng: np.random.Generator) -> Flow:
    """Deal requests out to callers, and give them tokens."""
    each = np.repeat(steps, counts)
    weights = 1.0 / np.arange(1, len(callers) + 1)
    which = rng.choice(len(callers), len(each), p=weights / weights.sum())
    pairs, total = np.unique(each * len(callers) + which, return_counts=True)
    size = key.input_mean + key.output_mean
    # The sum of n log-normal sizes, close enough as a gamma variable with the same mean and variance.
    shape = total / 1.7
    tokens = rng.gamma(shape, size * 1.7).astype(np.int64)
    return Flow(pairs // len(callers), total.astype(np.int64), callers, pairs % len(callers), tokens)


def seconds(key_id: str, flows: list[Flow], epoch: int) -> list[Second]:
    """The flows as the sums that the detectors get, in order of time."""
    sums: dict[int, Second] = {}
    for flow in flows:
        for step, count, which, tokens in zip(
            flow.steps.tolist(), flow.counts.tolist(), flow.which.tolist(), flow.tokens.tolist(), strict=True
        ):
            second = sums.get(step)
            if second is None:
                second = sums[step] = Second(key_id, epoch + step * STEP + STEP - 1, callers={}, refusals={})
            second.amounts[SERVED] += count
            second.amounts[TOKENS] += tokens
            caller = flow.callers[which]
            second.callers[caller] = second.callers.get(caller, 0) + count
    return [sums[step] for step in sorted(sums)]


def refused(key_id: str, steps: Ints, counts: Ints, refusal: Refusal, epoch: int) -> list[Second]:
    """Refused requests as sums."""
    return [
        Second(key_id, epoch + step * STEP + STEP - 1, _refused(count), callers={}, refusals={refusal: count})
        for step, count in zip(steps.tolist(), counts.tolist(), strict=True)
    ]


def _refused(count: int) -> list[int]:
    amounts = [0] * PLACES
    amounts[REFUSED] = count
    return amounts


def _trial(key: Key, step: int, person: Person, rng: np.random.Generator) -> Flow:
    caller = (address(rng), "curl/8.5.0", person.models[0], person.routes[0])
    count = int(rng.integers(1, 7))
    return spread(key, np.sort(rng.integers(step, step + 30, count)), np.ones(count, dtype=np.int64), [caller], rng)


def _change(person: Person, what: str, rng: np.random.Generator) -> None:
    if what == "network":
        if len(person.networks) > 1 and rng.uniform() < 0.7:
            person.networks.pop(int(rng.integers(len(person.networks))))
        person.networks.insert(int(rng.integers(len(person.networks) + 1)), address(rng))
    elif what == "version":
        person.version += 1
    elif what == "program":
        person.program, person.version = str(rng.choice(PROGRAMS)), 1
    elif what == "model":
        person.models.append(str(rng.choice(MODELS)))
