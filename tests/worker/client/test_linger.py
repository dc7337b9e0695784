from __future__ import annotations

import pytest

from sidecar.worker.client.linger import MOST, SLACK, Linger

LARGEST = 1 << 20


@pytest.mark.parametrize(
    ("declared", "received", "most"),
    [
        (None, 0, SLACK),
        (0, 0, SLACK),
        (100, 0, 100 + SLACK),
        (100, 40, 60 + SLACK),
        (100, 400, SLACK),
        (2 * LARGEST, 0, 2 * LARGEST + SLACK),
        (2 * LARGEST + 1, 0, SLACK),
    ],
)
def test_a_body_that_could_be_meant_is_read_to_its_end(declared: int | None, received: int, most: int) -> None:
    linger = Linger(declared, received, LARGEST, 5.0)
    assert linger.takes(most - 1, 5.0) and linger.takes(1, 5.0) and not linger.takes(1, 5.0)


def test_nobody_goes_on_for_ever() -> None:
    assert Linger(None, 0, LARGEST, 5.0).takes(1, 4.999 + MOST)
    assert not Linger(None, 0, LARGEST, 5.0).takes(1, 5.0 + MOST)
