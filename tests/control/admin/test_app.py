"""What the admin application starts and ends beside its calls."""

from __future__ import annotations

import pytest
from aiohttp import web

from sidecar.control.admin.app import application, bind
from sidecar.control.admin.services import AdminServices
from tests.support.disk import unlistable
from tests.support.store import until


async def test_the_end_of_the_settling_is_told_and_the_journal_still_brought_in_at_the_end(
    services: AdminServices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settled = False

    async def run() -> None:
        raise RuntimeError("nobody thought of this")

    async def settle() -> None:
        nonlocal settled
        settled = True

    monkeypatch.setattr(services.audit, "run", run)
    monkeypatch.setattr(services.audit, "settle", settle)
    runner = web.AppRunner(application(bind(services), services.audit))
    await runner.setup()
    await until(lambda: "nobody thought of this" in caplog.text)
    await runner.cleanup()
    assert settled


async def test_a_journal_that_cannot_be_read_at_the_end_is_left_to_the_next_start(services: AdminServices) -> None:
    runner = web.AppRunner(application(bind(services), services.audit))
    await runner.setup()
    with unlistable():
        await runner.cleanup()
