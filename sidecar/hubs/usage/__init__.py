"""Reads what a call used out of the hub's answer, while it passes: bounded memory, no byte changed, nothing invented."""

from sidecar.hubs.usage.dialects import rejects_credential
from sidecar.hubs.usage.documents import Usage
from sidecar.hubs.usage.reader import UsageReader, open_reader

__all__ = ["Usage", "UsageReader", "open_reader", "rejects_credential"]
