from __future__ import annotations

import pytest

from sidecar.worker.client.linger import LARGEST, SLACK, Linger


@pytest.mark.parametrize(
    ("declared", "received", "most"),
    [
        (None, 0, SLACK),
        (0, 0, SLACK),
        (100, 0, 100 + SLACK),
        (100, 40, 60 + SLACK),
        (100, 400, SLACK),
        (LARGEST, 0, LARGEST + SLACK),
        (LARGEST + 1, 0, SLACK),
    ],
)
def test_a_body_of_a_usual_size_is_read_to_its_end(declared: int | None, received: int, most: int) -> None:
    linger = Linger(declared, received)
    assert linger.takes(most - 1) and linger.takes(1) and not linger.takes(1)
