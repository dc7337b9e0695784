"""Bounds on connections fit into the descriptors that there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings import load
from sidecar.worker.descriptors import RESERVE, fit


def test_enough_descriptors_change_nothing() -> None:
    settings = load(None, {})
    assert fit(settings, 1 << 20) is settings


@given(st.integers(1, 40_000), st.integers(1, 40_000), st.integers(3, 100_000))
def test_the_bounds_fit_and_keep_their_proportion(clients: int, hubs: int, limit: int) -> None:
    given_bounds = {"SIDECAR_PROXY__BOUNDS__CONNECTIONS": str(clients), "SIDECAR_HUB__MAX_CONNECTIONS": str(hubs)}
    fitting = fit(load(None, given_bounds), limit)
    got = (fitting.proxy.bounds.connections, fitting.hub.max_connections)
    assert 1 <= got[0] <= clients and 1 <= got[1] <= hubs
    assert sum(got) <= max(limit - RESERVE, 2)
    if limit - RESERVE > 1000 and min(clients, hubs) > 1000:
        assert abs(got[0] * hubs - got[1] * clients) <= clients + hubs
