"""Charts: the drawing is in proportion, the table has the same numbers, names cannot break out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.console.charts.chart import HEIGHT, Chart, Series
from sidecar.control.console.charts.scale import bucket, tick, top
from sidecar.control.console.charts.spark import sparkline

values = st.lists(st.integers(0, 10**9), min_size=1, max_size=12)


def chart(*columns: list[float | None], kind: str = "bars", names: str = "abcdefg") -> Chart:
    series = [Series(name, "s1", column) for name, column in zip(names, columns, strict=False)]
    times = [float(60 * index) for index in range(len(columns[0]))]
    return Chart("c", 'T<>&"', "about", times, 60, series, kind)  # type: ignore[arg-type]


@given(values, st.data())
def test_bars_stand_on_each_other_and_stay_inside(first: list[float], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.integers(0, 10**9), min_size=len(first), max_size=len(first)))
    drawn = chart(first, second)  # type: ignore[arg-type]
    root = ElementTree.fromstring(str(drawn.svg()))
    assert max(map(sum, zip(first, second, strict=True))) <= drawn.highest * 1.000001
    for path in root.iter("path"):
        if "bar" in path.attrib["class"]:
            for y, height in re.findall(r"M[\d.]+ ([\d.]+)v-([\d.]+)", path.attrib["d"]):
                assert float(y) <= HEIGHT and float(y) - float(height) >= -0.51
    assert [sum(int(cell.replace("\u202f", "")) for cell in cells[:2]) for _, cells in drawn.rows()] == [
        a + b for a, b in zip(first, second, strict=True)
    ]


def test_gaps_break_a_line() -> None:
    paths = ElementTree.fromstring(str(chart([1, 2, None, 4, None], kind="lines").svg())).iter("path")
    drawn = {path.attrib["class"]: path.attrib["d"] for path in paths if "line" in path.attrib["class"]}
    # The value that stands alone is a dot, not a dash too short to be seen.
    assert drawn == {"line s1": "M5 75.00L15 50.00", "line dot s1": "M35 0.00h0"}


def test_text_is_escaped_and_described() -> None:
    root = ElementTree.fromstring(str(chart([1.0]).svg()))
    assert root.find("title").text == 'T<>&"'  # type: ignore[union-attr]
    assert root.attrib["aria-labelledby"] == "c-t c-d" and root.attrib["role"] == "img"
    ElementTree.fromstring(str(sparkline([1, 0, 3], '<"x">')))


def test_nothing_is_nothing() -> None:
    assert chart([0, None]).empty and not chart([0, 1]).empty
    assert chart([None, None], kind="lines").empty and not chart([0, None], kind="lines").empty
    assert Chart("c", "t", "a", [], 60, []).moments == []
    assert "<path d" not in str(sparkline([0, 0], "none"))


@given(st.floats(1e-9, 1e12))
def test_axes_end_in_a_round_number_not_far_above(highest: float) -> None:
    assert highest * 0.999 <= top(highest, whole=False) <= highest * 1.6


@given(st.integers(0, 10**12))
def test_an_axis_of_counts_has_a_count_in_its_middle(highest: int) -> None:
    assert top(highest) % 2 == 0 and highest <= top(highest) <= max(2 * highest, 2)


def test_marks_of_counts_are_counts() -> None:
    assert [chart([highest]).marks for highest in (1, 3, 5, 13)] == [["2", "1", "0"], ["4", "2", "0"], ["6", "3", "0"], ["20", "10", "0"]]


@pytest.mark.parametrize(
    ("count", "places"),
    [(1, [(50, "middle")]), (2, [(0, "start"), (100, "end")]), (30, [(0, "start"), (51.67, "middle"), (100, "end")])],
)
def test_a_moment_stands_at_its_own_bar(count: int, places: list[tuple[float, str]]) -> None:
    found = chart([1.0] * count).moments
    assert [(x, anchor) for _, x, anchor in found] == places
    assert [name for name, *_ in found] == [tick(60.0 * index, 60) for index in sorted({0, count // 2, count - 1})]


@pytest.mark.parametrize(
    ("step", "count", "names"),
    [
        (3600, 24, ["12:00", "00:00", "11:00"]),
        (3600, 72, ["Jan 31 12:00", "Feb 2 00:00", "Feb 3 11:00"]),
        (86400, 365, ["Jan 31", "Aug 1", "Jan 30"]),
        (86400, 366, ["Jan 31 2026", "Aug 2 2026", "Jan 31 2027"]),
    ],
)
def test_no_two_moments_of_an_axis_have_one_name(step: int, count: int, names: list[str]) -> None:
    noon = 1_769_860_800.0
    drawn = Chart("c", "t", "a", [noon + step * index for index in range(count)], step, [])
    assert [name for name, *_ in drawn.moments] == names


def test_names_of_moments() -> None:
    noon = 1_769_860_800.0
    assert (tick(noon, 60), tick(noon, 6 * 3600), tick(noon, 86400)) == ("12:00", "Jan 31 12:00", "Jan 31")
    assert (bucket(noon, 60), bucket(noon, 86400)) == ("2026-01-31 12:00", "2026-01-31")
