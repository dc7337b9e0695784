"""Finds out since when the minutes of a span are there: those that came in under a shorter `usage.minutes` went sooner."""

from __future__ import annotations

from sidecar.control.totals.series import ALL, DAY, HOUR
from sidecar.control.turns import replies
from sidecar.control.usage.span import Range, numbers
from sidecar.store import names
from sidecar.store.client import Store


async def there_from(store: Store, ranges: tuple[Range, ...], until: int) -> int:
    """The end of the last hour in `ranges` that has use but no minutes any more, 0 when there is none; raises StoreUnavailable.

    `until` is when hours are complete: of later ones it cannot be told, and they are too young.
    """
    hours = [hour for hour in numbers(ranges, HOUR) if (hour + 1) * HOUR <= until]
    minutes = replies(store, hours, lambda hour: ("EXISTS", names.series(names.GLOBAL_SHARD, "m", hour)))
    without = [hour async for hour, is_there in minutes if not is_there]
    used = replies(store, without, _is_used)
    return max([(hour + 1) * HOUR async for hour, is_used in used if is_used], default=0)


def _is_used(hour: int) -> tuple[str, str, str]:
    day, place = divmod(hour, DAY // HOUR)
    return "HEXISTS", names.series(names.GLOBAL_SHARD, "h", day), f"{ALL}|{place}"
