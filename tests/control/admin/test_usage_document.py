"""A report in pieces is the same as one that is made as a whole."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, astuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.admin.csv_export import cell
from sidecar.control.admin.messages import usage as messages
from sidecar.control.admin.times import to_time, to_time_or_none
from sidecar.control.admin.usage_document import PIECE, SLICE, as_csv, as_json
from sidecar.control.queries import UsageGroup, UsageGroups, UsageReport, Use

whole = st.integers(0, 2**53)
uses = st.builds(Use, whole, whole, whole, whole, whole, whole, st.floats(0, 1e9), whole, whole)
times = st.floats(0, 4e9)
series = st.lists(st.tuples(times, uses), max_size=5)
names = st.text(max_size=8)
groups = st.lists(st.builds(UsageGroup, names, uses, series), max_size=4)


@st.composite
def reports(draw: st.DrawFn) -> tuple[UsageReport, list[UsageGroup] | None]:
    """A report, and its groups once more, for they can be asked for once."""
    listed = draw(st.none() | groups)
    start, end, step = draw(st.none() | times), draw(st.none() | times), draw(st.sampled_from(["1m", "1h", "1d"]))
    of_all = None if listed is None else UsageGroups.of(listed)
    return UsageReport(start, end, step, draw(uses), draw(series), of_all), listed  # type: ignore[arg-type]


def document(report: UsageReport, listed: list[UsageGroup] | None, known: dict[str, str]) -> messages.UsageAnswer:
    """The whole answer at once."""

    def points(made: list[tuple[float, Use]]) -> list[messages.Point]:
        return [messages.Point(time=to_time(time), **asdict(use)) for time, use in made]

    of_all: list[messages.UsageGroup] | msgspec.UnsetType = msgspec.UNSET
    if listed is not None:
        of_all = [
            messages.UsageGroup(
                by=group.by,
                name=known.get(group.by, msgspec.UNSET),
                totals=messages.Totals(**asdict(group.totals)),
                series=points(group.series),
            )
            for group in listed
        ]
    return messages.UsageAnswer(
        from_=to_time_or_none(report.start),
        to=to_time_or_none(report.end),
        step=report.step,
        totals=messages.Totals(**asdict(report.totals)),
        series=points(report.series),
        groups=of_all,
    )


@given(reports(), st.dictionaries(names, names, max_size=3))
async def test_the_same_bytes_as_of_the_whole_document(made: tuple[UsageReport, list[UsageGroup] | None], known: dict[str, str]) -> None:
    report, listed = made
    if listed:
        known = {**known, listed[0].by: "the first"}
    assert b"".join([piece async for piece in as_json(report, known)]) == msgspec.json.encode(document(report, listed, known))


@given(reports())
async def test_a_row_for_each_point(made: tuple[UsageReport, list[UsageGroup] | None]) -> None:
    report, listed = made
    text = b"".join([piece async for piece in as_csv(report)]).decode()
    expected = [("", report.series)] if listed is None else [(group.by, group.series) for group in listed]
    rows = [["by", "time", *messages.Totals.__struct_fields__]]
    rows += [[str(cell(value)) for value in (by, to_time(time), *astuple(use))] for by, each in expected for time, use in each]
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows


async def test_pieces_are_neither_small_nor_large() -> None:
    point = (1_800_000_000.0, Use(1, 2, 3, 4, 5, 6, 7.5, 8, 9))
    few = [UsageGroup(str(number), point[1], [point] * 3) for number in range(3000)]
    many = UsageGroup("many", point[1], [point] * 10 * SLICE)
    report = UsageReport(None, None, "1m", point[1], [point] * 10 * SLICE, UsageGroups.of([*few, many]))
    pieces = [piece async for piece in as_json(report, {})]
    in_one = len(msgspec.json.encode(document(report, None, {}))) / 10
    assert all(PIECE <= len(piece) < PIECE + in_one for piece in pieces[:-1])
    report = UsageReport(None, None, "1m", point[1], [], UsageGroups.of([*few, many]))
    rows = [piece.count(b"\r\n") async for piece in as_csv(report)]
    assert sum(rows) == 1 + 3 * 3000 + 10 * SLICE
    assert all(SLICE <= count <= 2 * SLICE for count in rows[:-1])
