"""Numbers, times and sizes as people read them. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from sidecar.control.admin.times import Unit, in_units

_UNITS: tuple[Unit, ...] = (
    ("s", 1, 60),
    ("min", 60, 60),
    ("h", 3600, 24),
    ("d", 86400, 92),
    ("mo", 365 * 86400 // 12, 12),
    ("y", 365 * 86400, math.inf),
)
"""The same stand in `static/time.js`, which keeps them true. Days go on until there are three whole months."""
_THIN = "\u202f"


def span(seconds: float, *, rounded: bool = False) -> str:
    """A length of time in its largest unit: `3 min`, `2 d`."""
    count, unit = in_units(seconds, _UNITS, rounded=rounded)
    return f"{count} {unit}"


def relative(time: datetime, now: datetime) -> str:
    """`time` as seen from `now`: `3 min ago`, `in 2 d`. What lies ahead is rounded: a key made a moment ago for 30 days ends in 30."""
    seconds = (now - time).total_seconds()
    if abs(seconds) < 5:
        return "just now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds, rounded=True)}"


def absolute(time: datetime) -> str:
    """`2026-01-31 13:05:09 UTC`."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def whole(number: float) -> str:
    """All digits, in groups of three."""
    return f"{number:,.0f}".replace(",", _THIN)


def compact(number: float) -> str:
    """At most four characters of digits: `950`, `1.2k`, `34M`."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            scaled = number / size
            return f"{scaled:.1f}".removesuffix(".0") + suffix if abs(scaled) < 99.95 else f"{scaled:.0f}{suffix}"
    return f"{number:.0f}" if abs(number) >= 10 or number == int(number) else f"{number:.2g}"


def credits(amount: float) -> str:
    """What something cost: `0.25`, `12.4`, `1.2k`; what is too little for three digits is not nothing, `<0.001`."""
    if 0 < amount < 0.001:
        return "<0.001"
    if amount >= 999.95:
        return compact(amount)
    return f"{amount:.{3 if amount < 10 else 1}f}".rstrip("0").rstrip(".")


def size(count: float) -> str:
    """Bytes in binary units: `12 KiB`."""
    for bytes_, unit in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= bytes_:
            scaled = count / bytes_
            return f"{scaled:.1f} {unit}" if scaled < 10 else f"{scaled:.0f} {unit}"
    return f"{count:.0f} B"


def milliseconds(value: float) -> str:
    """`<1 ms`, `240 ms`, `3.2 s`: no finer than it is measured."""
    if value >= 999.5:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 1 else "<1 ms"


def share(part: float, of: float) -> str:
    """`part` of a whole, in per cent."""
    if not of:
        return "0%"
    percent = 100 * part / of
    if percent in (0, 100):
        return f"{percent:.0f}%"
    return f"{percent:.1f}%" if 0.1 <= percent <= 99.9 else "<0.1%" if percent < 50 else ">99.9%"


def change(now: float, before: float) -> str:
    """How `now` compares with `before`: `+12%`, `−3%`, `×14`; empty when there was nothing before."""
    if not before:
        return ""
    ratio = now / before
    if ratio >= 10:
        return f"×{ratio:.0f}"
    percent = round(100 * (ratio - 1))
    return "±0%" if percent == 0 else f"+{percent}%" if percent > 0 else f"−{-percent}%"
