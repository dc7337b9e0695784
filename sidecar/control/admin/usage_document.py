"""A usage report as JSON or CSV, piece by piece: a report may have millions of points."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from sidecar.control.admin import csv_export
from sidecar.control.admin.messages import usage as messages
from sidecar.control.admin.times import to_time, to_time_or_none
from sidecar.control.queries import UsageReport, Use

SLICE = 500
"""Points that are made without a pause."""
PIECE = 64 << 10
"""Bytes of a piece at least, but for the last: thousands of groups may have a few points each."""

_MEASURES = messages.Totals.__struct_fields__
_values = attrgetter(*_MEASURES)
_encode = msgspec.json.Encoder().encode

Series = list[tuple[float, Use]]


async def as_json(report: UsageReport, names: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The document of `messages.UsageAnswer`; `names` are those of keys, by id."""
    piece = bytearray()
    async for part in _parts(report, names):
        piece += part
        if len(piece) >= PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


async def as_csv(report: UsageReport) -> AsyncIterator[bytes]:
    """A row for each point: of the groups where there are any, else of all together."""
    async for piece in csv_export.stream(["by", "time", *_MEASURES], _rows(report)):
        yield piece


async def _parts(report: UsageReport, names: Mapping[str, str]) -> AsyncIterator[bytes]:
    document = messages.UsageAnswer(
        from_=to_time_or_none(report.start), to=to_time_or_none(report.end), step=report.step, totals=_totals(report.totals), series=[]
    )
    for part in _with_series(document, report.series):
        yield part
    if report.groups is not None:
        lead = b',"groups":['
        async for group in report.groups.each:
            yield lead
            lead = b","
            name = names.get(group.by, msgspec.UNSET)
            for part in _with_series(messages.UsageGroup(by=group.by, name=name, totals=_totals(group.totals), series=[]), group.series):
                yield part
            yield b"}"
        yield b"]" if lead == b"," else lead + b"]"
    yield b"}"


def _with_series(document: messages.UsageAnswer | messages.UsageGroup, series: Series) -> Iterator[bytes]:
    """A document that ends with an empty series, filled, and still without its last brace."""
    yield _encode(document).removesuffix(b"]}")
    for first in range(0, len(series), SLICE):
        points = [messages.Point(time=to_time(time), **_by_name(use)) for time, use in series[first : first + SLICE]]
        yield (b"," if first else b"") + _encode(points)[1:-1]
    yield b"]"


def _totals(use: Use) -> messages.Totals:
    return messages.Totals(**_by_name(use))


def _by_name(use: Use) -> dict[str, Any]:
    return dict(zip(_MEASURES, _values(use), strict=True))


async def _rows(report: UsageReport) -> AsyncIterator[list[list[Any]]]:
    rows: list[list[Any]] = []
    async for by, series in _all_series(report):
        for first in range(0, len(series), SLICE):
            rows += [[by, to_time(time), *_values(use)] for time, use in series[first : first + SLICE]]
            if len(rows) >= SLICE:
                yield rows
                rows = []
    if rows:
        yield rows


async def _all_series(report: UsageReport) -> AsyncIterator[tuple[str, Series]]:
    if report.groups is None:
        yield "", report.series
    else:
        async for group in report.groups.each:
            yield group.by, group.series
