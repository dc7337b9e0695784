"""What records have in common."""

from __future__ import annotations

from sidecar.events.record import NO_TOKENS, Tokens, sum_of


def test_a_sum_of_tokens() -> None:
    assert sum_of([]) == NO_TOKENS
    assert sum_of([Tokens(1, 2, 3, 4, 0.5, 6), Tokens(1)]) == Tokens(2, 2, 3, 4, 0.5, 6)
