"""The simulation of many replicas says what must be so."""

from __future__ import annotations

import pytest

from benchmarks.scaling.fleet import Costs, Fleet, over_admitted, simulate
from sidecar.keys.lease import TRUSTED_FOR

COSTS = Costs(heartbeat=10e-6, admission=20e-6, report=3e-6, lookup=30e-6, event=4e-6, memory=1400)


def test_work_adds_up() -> None:
    came = simulate(Fleet(100, 1_000, 0, requests=10_000, keys=200_000), COSTS, 2.0)
    assert abs(came.busy - (200 * 10e-6 + 1_000 * 20e-6 + 5_000 * 30e-6 + 10_000 * 4e-6)) < 0.01 and not came.revocation
    assert abs(sum(came.shares.values()) - 1) < 1e-9 and not came.distrusted


def test_keys_that_are_remembered_cost_no_look_ups() -> None:
    assert not simulate(Fleet(10, 0, 0, requests=1_000, keys=100_000), COSTS, 1.0).lookup


def test_primaries_share_the_work_but_for_heartbeats() -> None:
    fleet = {"workers": 100, "admissions": 5_000.0, "revocations": 0.0}
    one, four = (simulate(Fleet(**fleet, primaries=count), COSTS, 2.0).busy for count in (1, 4))  # type: ignore[arg-type]
    beats = 200 * 10e-6
    assert four - beats == pytest.approx((one - beats) / 4, rel=0.1)


def test_no_worker_serves_a_revoked_key_beyond_its_lease() -> None:
    came = simulate(Fleet(500, 1_000, 2, deaf=0.5), COSTS, 3.0)
    assert TRUSTED_FOR - 0.5 < came.revocation[-1] < 2.0


def test_beyond_what_the_store_can_do_admissions_wait() -> None:
    came = simulate(Fleet(10, 80_000, 0), COSTS, 1.5)
    assert came.busy > 0.99 and came.admission[-1] > 0.4


def test_an_overloaded_store_makes_workers_ask_more() -> None:
    came = simulate(Fleet(10, 80_000, 0, requests=80_000, keys=1_000), COSTS, 3.0)
    assert came.distrusted > 10 and came.shares["distrust"] > 0.1


@pytest.mark.parametrize(("limit", "lost"), [(60, 0.0), (60, 1.0), (600, 1.0), (6_000, 10.0)])
def test_a_failover_gives_again_what_was_lost_and_no_more(limit: int, lost: float) -> None:
    # What came last before the failover is lost, and given again.
    beyond = over_admitted(limit, 1.5, lost)
    assert 0.0 <= beyond <= lost * 1.5 / 60 + 1 / limit
