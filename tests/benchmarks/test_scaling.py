"""The simulation of many replicas says what must be so."""

from __future__ import annotations

from benchmarks.scaling import Costs, Fleet, simulate
from sidecar.keys.lease import TRUSTED_FOR

COSTS = Costs(10e-6, 20e-6, 3e-6, 1400)


def test_work_adds_up() -> None:
    came = simulate(Fleet(100, 1_000, 0), COSTS, 5.0)
    assert abs(came.busy - (200 * 10e-6 + 1_000 * 20e-6)) < 0.002 and not came.revocation


def test_no_worker_serves_a_revoked_key_beyond_its_lease() -> None:
    came = simulate(Fleet(500, 1_000, 2, deaf=0.5), COSTS, 5.0)
    assert TRUSTED_FOR - 0.5 < came.revocation[-1] < 2.0


def test_beyond_what_the_store_can_do_admissions_wait() -> None:
    came = simulate(Fleet(10, 80_000, 0), COSTS, 2.0)
    assert came.busy > 0.99 and came.admission[-1] > 0.5
