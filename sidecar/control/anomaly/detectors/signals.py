"""The signals, once: weight, kind, how long one stays up, and whether it warns by itself.

Signals of one kind say the same thing twice, so only the strongest of a kind counts; what adds up is
evidence of different kinds. The manual's table, metrics and the Prometheus rules are made from this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["network", "spread", "client", "work", "history", "stranger", "volume", "refusals", "secret", "source"]

MINUTE, HOUR, DAY = 60, 3600, 86400

PAGE_SCORE = 6
WARNING_SCORE = 4


@dataclass(frozen=True, slots=True)
class Signal:
    """A row of the table.

    `hold` is how many seconds the signal stays up after it was last seen. An `anchor` says that
    somebody else may hold the key; without one nothing pages, however much the key is used. While one
    that `distrusts` is up, no new network is believed.
    """

    name: str
    weight: int
    kind: Kind
    hold: int
    anchor: bool
    warns: bool
    distrusts: bool
    meaning: str


def _signal(
    name: str, weight: int, kind: Kind, hold: int, meaning: str, *, anchor: bool = False, warns: bool = False, distrusts: bool = False
) -> Signal:
    return Signal(name, weight, kind, hold, anchor, warns, distrusts, meaning)


NEW_NETWORK = _signal("new_network", 3, "network", DAY, "Used from a network that never used this key before.", anchor=True)
NETWORK_FANOUT = _signal(
    "network_fanout", 4, "spread", HOUR, "Used from many new networks within ten minutes.", anchor=True, warns=True, distrusts=True
)
AGENT_CHANGE = _signal("agent_change", 1, "client", DAY, "A client program that never used this key before.")
NEW_MODEL = _signal("new_model", 2, "work", DAY, "A model that this key never used before.")
NEW_ROUTE = _signal("new_route", 1, "work", DAY, "A route that this key never used before.")
ENUMERATION = _signal(
    "enumeration",
    3,
    "work",
    DAY,
    "Three or more models tried for the first time within ten minutes.",
    anchor=True,
    warns=True,
    distrusts=True,
)
STRANGER = _signal(
    "stranger",
    2,
    "stranger",
    DAY,
    "A new network goes on calling with a program, model or route that no known network has used.",
    anchor=True,
    distrusts=True,
)
DORMANT_REACTIVATED = _signal(
    "dormant_reactivated", 5, "history", DAY, "Used again after a long silence.", anchor=True, warns=True, distrusts=True
)
OFF_HOURS = _signal("off_hours", 1, "history", HOUR, "Busy at an hour of the week at which it never is.")
REQUEST_SPIKE = _signal(
    "request_spike", 2, "volume", 15 * MINUTE, "Far more requests than in the busiest time of its last seven days.", warns=True
)
NEW_NETWORK_SPIKE = _signal(
    "new_network_spike",
    3,
    "volume",
    15 * MINUTE,
    "New networks by themselves bring more than the whole key in its busiest time.",
    warns=True,
    distrusts=True,
)
TOKEN_BURN = _signal(
    "token_burn", 2, "volume", 15 * MINUTE, "Far more tokens than in the busiest time of its last seven days.", warns=True, distrusts=True
)
IMPOSSIBLE_CONCURRENCY = _signal(
    "impossible_concurrency", 2, "volume", 15 * MINUTE, "Far more requests at a time than ever, from several networks.", warns=True
)
DENIED_BURST = _signal("denied_burst", 2, "refusals", 15 * MINUTE, "Most of its requests are refused.", warns=True)
RETIRED_SECRET = _signal("retired_secret", 1, "secret", DAY, "A secret that was revoked or rotated out is still presented.", warns=True)
MANY_KEYS_ONE_SOURCE = _signal(
    "many_keys_one_source", 6, "source", HOUR, "One network began to use five or more keys within half an hour.", anchor=True, warns=True
)
KEY_GUESSING = _signal("key_guessing", 2, "source", HOUR, "One network keeps presenting keys that do not exist.", warns=True)

TABLE: tuple[Signal, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Signal))
BY_NAME = {signal.name: signal for signal in TABLE}

Level = Literal["notice", "warn", "page"]
LEVELS: tuple[Level, ...] = ("notice", "warn", "page")


def score(active: Iterable[Signal]) -> int:
    """The sum over kinds of the heaviest signal of each."""
    heaviest: dict[str, int] = {}
    for signal in active:
        heaviest[signal.kind] = max(signal.weight, heaviest.get(signal.kind, 0))
    return sum(heaviest.values())


def level(active: Iterable[Signal]) -> Level:
    """What `active` signals together deserve; an empty set is a notice."""
    signals = list(active)
    total = score(signals)
    if total >= PAGE_SCORE and any(signal.anchor for signal in signals):
        return "page"
    return "warn" if total >= WARNING_SCORE or any(signal.warns for signal in signals) else "notice"
