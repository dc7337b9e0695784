"""A reset of whatever is left of a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.worker.client.reset import reset


class Endpoint:
    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def setsockopt(self, *_: object) -> None:
        raise self._fault


class Transport(asyncio.Transport):
    def __init__(self, endpoint: Endpoint | None) -> None:
        super().__init__()
        self._endpoint = endpoint
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._endpoint

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("fault", [OSError("bad file descriptor"), ValueError("file descriptor cannot be a negative integer"), None])
def test_a_connection_whose_socket_is_gone_is_aborted_all_the_same(fault: Exception | None) -> None:
    transport = Transport(Endpoint(fault) if fault is not None else None)
    reset(transport)
    assert transport.aborted
