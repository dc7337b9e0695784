"""The audit log: who did what to which key, when and from where, in a chain that shows tampering."""

from sidecar.control.audit.act import Act, Unchanged
from sidecar.control.audit.event import ACTIONS, ATTEMPTS, Change, Event, Filter, Party, Source, draft
from sidecar.control.audit.journal import JOURNAL_DIRECTORY, Journal, Unrecordable
from sidecar.control.audit.log import AuditLog
from sidecar.control.audit.reading import Page, Sealed, Verdict

__all__ = [
    "ACTIONS", "ATTEMPTS", "JOURNAL_DIRECTORY", "Act", "AuditLog", "Change", "Event", "Filter", "Journal", "Page", "Party", "Sealed",
    "Source", "Unchanged", "Unrecordable", "Verdict", "draft",
]  # fmt: skip
