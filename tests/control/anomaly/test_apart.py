from __future__ import annotations

import pytest

from sidecar.control.anomaly.apart import apart
from sidecar.store.client import StoreUnavailable


async def test_what_fails_keeps_nothing_else() -> None:
    done = []

    async def act(number: int) -> None:
        if number % 2:
            raise StoreUnavailable("gone")
        done.append(number)

    with pytest.raises(StoreUnavailable):
        await apart(range(5), act)
    assert done == [0, 2, 4]
    await apart([6], act)
    assert done[-1] == 6
