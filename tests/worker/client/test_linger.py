from __future__ import annotations

import pytest

from sidecar.worker.client.linger import LARGEST, MOST, SLACK, Linger


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
    linger = Linger(declared, received, 5.0)
    assert linger.takes(most - 1, 5.0) and linger.takes(1, 5.0) and not linger.takes(1, 5.0)


def test_nobody_goes_on_for_ever() -> None:
    assert Linger(None, 0, 5.0).takes(1, 4.999 + MOST)
    assert not Linger(None, 0, 5.0).takes(1, 5.0 + MOST)
