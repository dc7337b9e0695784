"""What of a call goes into its record, and that failures are kept few whatever the wall clock does."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sidecar.control.admin.authentication import NOBODY
from sidecar.control.admin.endpoint import Call, Nothing
from sidecar.control.admin.errors import INVALID_ADMIN_TOKEN, AdminError
from sidecar.control.admin.recorder import Recorder
from sidecar.control.audit import AuditLog, Event, Filter, Journal
from sidecar.keys.token import generate
from sidecar.store.client import Store

DAY = 86400.0
CALL = Call(
    operation="keys.revoke", actor=NOBODY, request_id="r", address="", agent="", path={}, query=Nothing(), body=Nothing(), raw=b"",
    idempotency_key="", if_match=None, media=None,
)  # fmt: skip


class Wall:
    """A wall clock that somebody sets."""

    now = 2_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def audit(store: Store, tmp_path: Path) -> AuditLog:
    return AuditLog(store, Journal(tmp_path / "audit"))


@pytest.fixture
def recorder(audit: AuditLog, wall: Wall) -> Recorder:
    return Recorder(audit, wall)


async def everything(audit: AuditLog) -> list[Event]:
    return [sealed.event async for sealed in audit.export(Filter())]


async def test_a_clock_that_is_put_back_silences_nobody(recorder: Recorder, audit: AuditLog, wall: Wall) -> None:
    error = AdminError(INVALID_ADMIN_TOKEN)
    await recorder.failed_authentication(error, "192.0.2.1")
    wall.now -= DAY
    await recorder.failed_authentication(error, "192.0.2.1")
    for number in range(20):
        await recorder.failed_authentication(error, f"198.51.100.{number}")
    events = await everything(audit)
    assert len(events) == 22
    assert (events[0].time.timestamp(), events[1].time.timestamp()) == (wall.now + DAY, wall.now)


async def test_a_clock_that_is_put_on_lets_nobody_fill_the_log(recorder: Recorder, audit: AuditLog, wall: Wall) -> None:
    for _ in range(50):
        await recorder.failed_authentication(AdminError(INVALID_ADMIN_TOKEN), "192.0.2.1")
        wall.now += DAY
    assert len(await everything(audit)) == 5


async def test_a_reason_is_recorded_without_blanks_around_it(recorder: Recorder, audit: AuditLog) -> None:
    async with recorder.act(CALL, "api_key.revoked", None, reason=" because\n"):
        pass
    assert [event.reason for event in await everything(audit)] == ["because"]


@pytest.mark.parametrize("secret", [generate("ahk"), generate("sat"), f"blocklet-{'z8ia' * 10}"], ids=["key", "admin token", "hub"])
async def test_a_reason_is_recorded_without_the_secret_that_leaked(recorder: Recorder, audit: AuditLog, secret: str) -> None:
    async with recorder.act(CALL, "api_key.disabled", None, reason=f"{secret} was on a forge (key={secret})"):
        pass
    (event,) = await everything(audit)
    assert secret.rpartition("_")[2] not in event.reason and event.reason.endswith(")")
    assert "was on a forge (key=" in event.reason


async def test_what_cannot_be_recorded_is_not_begun(
    recorder: Recorder, audit: AuditLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Journal, event: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Journal, "write", full)
    begun = False
    with pytest.raises(AdminError) as raised:
        async with recorder.act(CALL, "api_key.revoked", None):
            begun = True
    problem = raised.value.problem
    assert not begun and (problem.code, problem.status, problem.retry_after) == ("audit_journal_unavailable", 503, 1)
    assert "data_dir" in raised.value.detail and "No space left on device" in caplog.text
    assert await everything(audit) == []
