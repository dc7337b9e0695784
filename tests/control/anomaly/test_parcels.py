from __future__ import annotations

import pytest

from sidecar.control.anomaly.parcels import Parcels
from tests.support.keys import OLDER_PEPPER, PEPPER

DATA = b"\x91" + b"203.0.113.9" * 100


def test_what_is_wrapped_says_nothing_and_comes_back_whole() -> None:
    parcels = Parcels((PEPPER,), wraps=True)
    wrapped = parcels.wrap(DATA)
    assert b"203" not in wrapped
    assert parcels.open(wrapped) == DATA
    assert parcels.wrap(DATA) != wrapped, "each has a mask of its own"


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00x"])
def test_what_begins_with_nothing_comes_back_whole(data: bytes) -> None:
    parcels = Parcels((PEPPER,), wraps=True)
    assert parcels.open(parcels.wrap(data)) == data


def test_replicas_understand_each_other_whatever_each_of_them_wraps_and_while_the_pepper_is_being_changed() -> None:
    for sender in (Parcels(), Parcels((PEPPER,)), Parcels((OLDER_PEPPER,), wraps=True), Parcels((PEPPER, OLDER_PEPPER), wraps=True)):
        assert Parcels((PEPPER, OLDER_PEPPER)).open(sender.wrap(DATA)) == DATA


def test_what_another_pepper_has_wrapped_stays_as_it_is() -> None:
    wrapped = Parcels((OLDER_PEPPER,), wraps=True).wrap(DATA)
    assert Parcels((PEPPER,), wraps=True).open(wrapped) == wrapped
    assert Parcels((PEPPER,)).open(wrapped[:5]) == wrapped[:5]
