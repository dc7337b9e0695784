from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.metrics.buckets import DURATION, FIRST_BYTE
from sidecar.control.rows import SHOWN, Block, Figures, Kind, Latency, Row
from sidecar.events.record import traits_of
from tests.control.support.events import callers_of, key_id, request

TRAITS = traits_of(request(key_id(1)))
_figures = st.fixed_dictionaries({name: st.integers(0, 9) for name in Figures.__slots__})


def kind() -> Kind:
    return Kind(1, TRAITS, Latency())


def row() -> Row:
    return Row(TRAITS, TRAITS.key_id, 60.5, 3, kind(), Block())


def filled(values: dict[str, int]) -> Figures:
    figures = Figures()
    for name, value in values.items():
        setattr(figures, name, value)
    return figures


@given(_figures, _figures)
def test_figures_add_up_one_by_one(mine: dict[str, int], others: dict[str, int]) -> None:
    figures = filled(mine)
    figures.add(filled(others))
    assert {name: getattr(figures, name) for name in mine} == {name: mine[name] + others[name] for name in mine}


def test_callers_stand_in_the_order_in_which_they_were_met() -> None:
    some = row()
    assert not callers_of(some)
    for number, (client, agent) in enumerate((("a", "x"), ("b", "x"), ("a", "x"), ("a", "y")), 1):
        some.meet(client, agent).requests += number
    assert list(callers_of(some).items()) == [(("a", "x"), 4), (("b", "x"), 2), (("a", "y"), 4)]


def test_quotas_are_settled_one_by_one() -> None:
    some = row()
    assert some.quota is None
    some.settle("2026-11/r/5", 7)
    some.settle("2026-11/s/5", 0)
    assert some.quota == [("2026-11/r/5", 7), ("2026-11/s/5", 0)]


def test_the_first_request_of_a_bucket_is_its_example() -> None:
    some = kind()
    for number, total in enumerate((0.0, 0.3, 0.3, 1e6)):
        some.show(b"%d" % number, float(number), total, total / 2, is_answered=number != 0)
    totals = {total: bisect_left(DURATION, total) for total in (0.0, 0.3, 1e6)}
    assert some.durations == {totals[0.0]: (b"0", 0.0, 0.0), totals[0.3]: (b"1", 0.3, 1.0), totals[1e6]: (b"3", 1e6, 3.0)}
    first = {total: bisect_left(FIRST_BYTE, total / 2) for total in (0.3, 1e6)}
    assert some.first_bytes == {first[0.3]: (b"1", 0.15, 1.0), first[1e6]: (b"3", 5e5, 3.0)}


def test_only_so_many_are_looked_at_for_examples() -> None:
    some = kind()
    for number in range(SHOWN):
        some.show(b"same", 1.0, 0.3, 0.1, is_answered=True)
        assert (len(some.durations), len(some.first_bytes)) == (1, 1), number
    some.show(b"later", 1.0, 1e6, 1e6, is_answered=True)
    assert (len(some.durations), len(some.first_bytes)) == (1, 1)
    another = kind()
    for _ in range(SHOWN - 1):
        another.show(b"same", 1.0, 0.3, 0.1, is_answered=True)
    another.show(b"last", 1.0, 1e6, 1e6, is_answered=True)
    assert (len(another.durations), len(another.first_bytes)) == (2, 2)
