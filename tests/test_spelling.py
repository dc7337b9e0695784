"""What is guessed for a name that is unknown, and what is not."""

from __future__ import annotations

import pytest

from sidecar.spelling import did_you_mean

KNOWN = ("--json", "--key-name", "--name", "--allow-model", "--allow-ip", "--quota-tokens", "--admin-token-file", "access_key")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--nmae", "--name"),
        ("-name", "--name"),
        ("--model", "--allow-model"),
        ("--allow_model", "--allow-model"),
        ("--ip", "--allow-ip"),
        ("--token", "--admin-token-file"),
        ("--tokn", "--admin-token-file"),
        ("acess_key", "access_key"),
        ("access", "access_key"),
    ],
)
def test_a_slip_of_the_pen_is_guessed(typed: str, meant: str) -> None:
    assert did_you_mean(typed, KNOWN) == f"; did you mean {meant}?"


@pytest.mark.parametrize("typed", ["", "-", "--", "--colour", "hub_sk_0123456789"])
def test_nothing_is_guessed_from_nothing_alike(typed: str) -> None:
    assert did_you_mean(typed, KNOWN) == ""
