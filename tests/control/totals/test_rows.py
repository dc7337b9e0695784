from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.totals.rows import Block, Figures, Kind, Latency, Row
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
