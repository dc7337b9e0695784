"""What must be read of the stored series to cover a span, and how what comes back is read. Pure; times are Unix seconds."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from sidecar.control.totals.series import ALL, DAY, SEPARATOR, SERIES, Layout, Values
from sidecar.control.usage.span import Cut, Range, inside, numbers
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

    def cells(self, reply: Sequence[bytes | None]) -> Iterator[tuple[int, str, Values]]:
        """When a wanted bucket begins, the parts under which its values count (see `in_total` and `split`), and these."""
        times: dict[str, int | None] = {}
        for packed in reply:
            if packed is None:
                continue
            for name, values in _decode(packed).items():
                number, _, parts = name.partition(SEPARATOR)
                # A month has tens of thousands of cells, but a hash only so many buckets.
                if number in times:
                    time = times[number]
                else:
                    time = times[number] = self._time(int(number))
                if time is not None:
                    yield time, parts, values

    def _time(self, number: int) -> int | None:
        time = self.begins + number * self.bucket
        return time if inside(time, self.wanted) else None


def in_total(parts: str) -> bool:
    """Whether a cell counts in the total: one of its parts is empty."""
    return not parts or parts[0] == SEPARATOR


def split(parts: str) -> list[str]:
    """The parts of a cell, each of which its values count under."""
    return parts.split(SEPARATOR)


def readings(key_id: str | None, plan: Cut, *, days: Container[int] | None = None) -> list[Reading]:
    """What covers `plan` for a key, or for all together, which alone have whole days; of the days in `days` alone."""
    subject, shard = (ALL, names.GLOBAL_SHARD) if key_id is None else (key_id, names.shard_of(key_id))
    made = []
    for step, ranges in (("d", plan.days), ("h", plan.hours), ("m", plan.minutes)):
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
    return sum(int(values[0]) for name, values in _decode(packed).items() if in_total(name.partition(SEPARATOR)[2]))


def _reading(step: str, shard: int, subject: str, number: int, ranges: tuple[Range, ...]) -> Reading:
    layout = SERIES[step]
    slices, wanted = _within(layout, number, ranges)
    command = ("HMGET", names.series(shard, step, number), *(f"{subject}|{place}" for place in slices))
    return Reading(command, number * layout.span, layout.bucket, wanted)


@lru_cache(maxsize=2000)
def _within(layout: Layout, number: int, ranges: tuple[Range, ...]) -> tuple[list[int], tuple[Range, ...]]:
    """The slices of a hash that `ranges` touch, and those of the ranges that touch it; the same for every key of a span."""
    begins, size = number * layout.span, layout.bucket * layout.slice
    slices = [place for place in range(layout.span // size) if _touching(begins + place * size, size, ranges)]
    return slices, _touching(begins, layout.span, ranges)


def _touching(begins: int, size: int, ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    return tuple(each for each in ranges if each[0] < begins + size and each[1] > begins)
