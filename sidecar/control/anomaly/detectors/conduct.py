"""What else tells: a long silence broken, refusals, an unusual hour, too many requests at a time, dead secrets."""

from __future__ import annotations

from sidecar.control.anomaly.detectors.amounts import IN_FLIGHT, REFUSED, SERVED
from sidecar.control.anomaly.detectors.baseline import DAYS, REQUESTS_HOUR
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.detectors.signals import (
    DAY,
    DENIED_BURST,
    DORMANT_REACTIVATED,
    HOUR,
    IMPOSSIBLE_CONCURRENCY,
    MINUTE,
    OFF_HOURS,
    RETIRED_SECRET,
)
from sidecar.control.anomaly.detectors.thresholds import Thresholds

_UNITS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second"))
_DEAD = {"api_key_revoked": "the key is revoked", "api_key_rotated": "the secret was rotated out"}


def judge(memory: Memory, second: Second, networks: Networks, thresholds: Thresholds) -> None:
    """Raise what `second` and the windows show, once a minute and whenever something was refused. A new look at conduct is called here.

    `dormant` is asked elsewhere: before the second becomes the key's last use.
    """
    now = second.time
    if second.refusals:
        dead_secret(memory, second, networks)
        refusals(memory, now, thresholds)
    off_hours(memory, now, thresholds)
    if second.in_flight:
        concurrency(memory, second.in_flight, now, thresholds)


def dormant(memory: Memory, now: int, thresholds: Thresholds) -> None:
    """Used after a long silence. The first use of a key, or the first that is seen of it, breaks none."""
    if not memory.last_used:
        return
    idle = now - memory.last_used
    if idle > thresholds.dormant_after * (1 + memory.acknowledged(DORMANT_REACTIVATED, now)):
        memory.raise_signal(DORMANT_REACTIVATED, now, f"first use after {_in_words(idle)} of silence")


def _in_words(seconds: int) -> str:
    """A silence in its largest unit: `dormant_after` may be hours."""
    size, unit = next(each for each in _UNITS if seconds >= each[0])
    count = seconds // size
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def dead_secret(memory: Memory, second: Second, networks: Networks) -> None:
    """A secret after its end; once a day for each key, whoever keeps trying."""
    for address, code, _ in second.refusals:
        if code in _DEAD:
            memory.raise_signal(RETIRED_SECRET, second.time, f"presented from {networks.of(address).name} although {_DEAD[code]}")
            return


def refusals(memory: Memory, now: int, thresholds: Thresholds) -> None:
    """Most of the last five minutes was refused."""
    served, refused = memory.window.five[SERVED], memory.window.five[REFUSED]
    needed = thresholds.denied_requests * (1 + memory.acknowledged(DENIED_BURST, now))
    if refused >= needed and refused > thresholds.denied_share * (served + refused):
        memory.raise_signal(DENIED_BURST, now, f"{refused} of {served + refused} requests refused within 5 minutes")


def off_hours(memory: Memory, now: int, thresholds: Thresholds) -> None:
    """Busy in an hour of the week that holds next to nothing of a usual week."""
    requests = memory.baseline.this_hour[REQUESTS_HOUR]
    if requests <= thresholds.off_hours_requests or now - memory.born < thresholds.off_hours_age:
        return
    # A few hours of use are no week: beside them every other hour would look idle.
    if len(memory.baseline.days) < DAYS:
        return
    share = memory.baseline.share_of_hour(now)
    if share < thresholds.off_hours_share and not memory.acknowledged(OFF_HOURS, now):
        memory.raise_signal(OFF_HOURS, now, f"{requests} requests in an hour of the week that is otherwise idle")


def concurrency(memory: Memory, in_flight: int, now: int, thresholds: Thresholds) -> None:
    """More open requests than ever, from more than one network."""
    hour = memory.baseline.this_hour
    hour[IN_FLIGHT] = max(hour[IN_FLIGHT], in_flight)
    usual = memory.baseline.usual[IN_FLIGHT]
    factor = thresholds.concurrency_factor * (1 + memory.acknowledged(IMPOSSIBLE_CONCURRENCY, now) / 2)
    if in_flight <= max(thresholds.concurrency_floor, factor * usual) or not usual or not memory.is_mature(now, thresholds):
        return
    networks = memory.networks.used_since(now - MINUTE, now)
    if networks >= 2:
        evidence = f"{in_flight} requests open at a time from {networks} networks; at most {usual} before"
        memory.raise_signal(IMPOSSIBLE_CONCURRENCY, now, evidence)
