from __future__ import annotations

import pytest

from sidecar.control.accepted import weights_of


@pytest.mark.parametrize(
    ("header", "weights"),
    [
        ("gzip", {"gzip": 1.0}),
        ("GZip;Q=0.5, br;q=0", {"gzip": 0.5, "br": 0.0}),
        ("text/plain;version=2;q=0.3, text/plain;version=1;q=0.6", {"text/plain": 0.6}),
        ("a;q=2, b;q=-1, c;q=much", {"a": 1.0, "b": 0.0, "c": 1.0}),
    ],
)
def test_weights(header: str, weights: dict[str, float]) -> None:
    assert weights_of(header) == weights
