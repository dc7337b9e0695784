from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from sidecar.settings.declaration import Settings
from sidecar.worker.authz import process


def policy_of_a_worker() -> int:
    """How a worker is scheduled; in a thread of its own, for that is what it is set for."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(process.main, Settings(), index=0, listen_fds=(), ready=lambda: None).result()


@pytest.fixture(autouse=True)
def _runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", lambda *_: os.sched_getscheduler(0))


def test_it_does_not_interrupt_the_proxy_that_asks() -> None:
    assert policy_of_a_worker() == os.SCHED_BATCH


def test_it_runs_where_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert policy_of_a_worker() == os.sched_getscheduler(0)
