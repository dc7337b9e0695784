"""What must be read of the stored series to cover a span, and how what comes back is read. Pure; times are Unix seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from sidecar.control.metrics.counts import GLOBAL_SHARD
from sidecar.control.series import ALL, DAY, SEPARATOR, SERIES, Values
from sidecar.control.usage_span import Cut, Range, inside, numbers
from sidecar.store import names
from sidecar.store.link import Command

_decode = msgspec.msgpack.Decoder(dict[str, list[float | int]]).decode


@dataclass(frozen=True, slots=True)
class Reading:
    """A subject's wanted fields of one stored hash."""

    command: Command
    begins: int
    """When the hash's first bucket begins."""
    bucket: int
    """Seconds of each."""
    wanted: tuple[Range, ...]

    def cells(self, reply: Sequence[bytes | None]) -> Iterator[tuple[int, list[str], Values]]:
        """When a wanted bucket begins, the parts under which its values count, and these; the part of a total is empty."""
        for packed in reply:
            if packed is None:
                continue
            for name, values in _decode(packed).items():
                number, *parts = name.split(SEPARATOR)
                time = self.begins + int(number) * self.bucket
                if inside(time, self.wanted):
                    yield time, parts, values


def readings(key_id: str | None, plan: Cut, *, days: set[int] | None = None) -> list[Reading]:
    """What covers `plan` for a key, or for all together; of the days in `days` alone."""
    subject, shard = (ALL, GLOBAL_SHARD) if key_id is None else (key_id, names.shard_of(key_id))
    made = []
    for step, ranges in (("h", plan.hours), ("m", plan.minutes)):
        span = SERIES[step].span
        for number in numbers(ranges, span):
            if days is None or number * span // DAY in days:
                made.append(_reading(step, shard, subject, number, ranges))
    return made


def hours_of(key_id: str, day: int, hours: Sequence[int]) -> Command:
    """Reads these hours of a day of a key, a field each; see `requests`."""
    return ("HMGET", names.series(names.shard_of(key_id), "h", day), *(f"{key_id}|{hour}" for hour in hours))


def requests(packed: bytes | None) -> int:
    """The requests of an hour."""
    if packed is None:
        return 0
    return sum(int(values[0]) for name, values in _decode(packed).items() if "" in name.split(SEPARATOR)[1:])


def _reading(step: str, shard: int, subject: str, number: int, ranges: tuple[Range, ...]) -> Reading:
    layout = SERIES[step]
    begins = number * layout.span
    size = layout.bucket * layout.slice
    end = begins + layout.span
    slices = [place for place in range(layout.span // size) if _touches(begins + place * size, begins + (place + 1) * size, ranges)]
    command = ("HMGET", names.series(shard, step, number), *(f"{subject}|{place}" for place in slices))
    wanted = tuple(each for each in ranges if each[0] < end and each[1] > begins)
    return Reading(command, begins, layout.bucket, wanted)


def _touches(first: int, last: int, ranges: tuple[Range, ...]) -> bool:
    return any(each[0] < last and each[1] > first for each in ranges)
