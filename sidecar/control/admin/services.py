"""What the admin API is made of. The control process fulfils it; every part is as narrow as what is used of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.control.admin.authentication import Sessions
from sidecar.control.audit import AuditLog
from sidecar.control.queries import AnomalyQueries, CallQueries, StatusQueries, UsageQueries
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.idempotency import Idempotency
from sidecar.keys.repository import KeyRepository
from sidecar.settings.declaration import Settings


@dataclass(frozen=True, slots=True)
class AdminServices:
    """Everything that `bind` needs; `clock` gives Unix seconds."""

    settings: Settings
    keys: KeyRepository
    admin_tokens: AdminTokens
    idempotency: Idempotency
    audit: AuditLog
    usage: UsageQueries
    calls: CallQueries
    status: StatusQueries
    clock: Callable[[], float]
    anomalies: AnomalyQueries | None = None
    sessions: Sessions | None = None
