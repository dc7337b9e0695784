"""What the control process can be asked: the questions of admin API and console, and the form of the answers.

Times are Unix seconds; spans are half-open, [start, end), by the end of a request; None is unbounded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sidecar.events.record import Request

Step = Literal["1m", "1h", "1d"]
GroupBy = Literal["key", "owner", "model", "route", "outcome"]


@dataclass(slots=True)
class Use:
    """Sums; `requests` counts all outcomes, the totals of a report are the sums of its series."""

    requests: int = 0
    errors: int = 0
    denied: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    credits: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """The use of one value of the grouping; `series` is [(start of the step, sums)], oldest first, steps without use left out."""

    by: str
    totals: Use
    series: list[tuple[float, Use]]


@dataclass(frozen=True, slots=True)
class UsageGroups:
    """The groups of a report, of which only some are held at a time: those with most requests first, to be iterated over once.

    Where all of them would be too large at once, `each` reads them from the store and may raise StoreUnavailable; what it
    reads may be a moment newer than the rest of the report.
    """

    names: list[str]
    """Of all of them, in any order."""
    each: AsyncIterator[UsageGroup]

    @classmethod
    def of(cls, groups: Sequence[UsageGroup]) -> UsageGroups:
        """These, which are there already."""

        async def each() -> AsyncIterator[UsageGroup]:
            for group in groups:
                yield group

        return cls([group.by for group in groups], each())


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Use of one key or of all; `groups` is None when no grouping was asked for."""

    start: float | None
    end: float | None
    step: Step
    totals: Use
    series: list[tuple[float, Use]]
    groups: UsageGroups | None = None


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls, newest first; an empty cursor is the end."""

    calls: list[Request]
    next_cursor: str = ""


@dataclass(frozen=True, slots=True)
class Anomalies:
    """Anomalies as JSON-ready documents, newest first; an empty cursor is the end."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    next_cursor: str = ""


class UsageQueries(Protocol):
    """Usage series. Raises StoreUnavailable."""

    async def usage(self, key_id: str | None, start: float | None, end: float | None, step: Step, group_by: GroupBy | None) -> UsageReport:
        """The use of one key, or of all keys when `key_id` is None. By key or owner, the use of one key is one group."""


class CallQueries(Protocol):
    """The call log. Raises StoreUnavailable; ValueError for a cursor that is not its own."""

    async def calls(
        self, *, key_id: str | None, outcome: str | None, start: float | None, end: float | None, limit: int, cursor: str
    ) -> CallPage:
        """One page."""


class StatusQueries(Protocol):
    """The state of this sidecar; never raises for parts that are down, it says so."""

    async def snapshot(self) -> dict[str, Any]:
        """JSON-ready: `store`, `hub`, `workers`, `spool`, `versions`."""


class Judged(dict[str, Any]):
    """The document of an anomaly of which somebody has said something; `before` is the one until then."""

    def __init__(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        super().__init__(after)
        self.before = before


class AnomalyQueries(Protocol):
    """What the anomaly detection found. Raises StoreUnavailable; LookupError for an id that it does not know."""

    async def anomalies(self, *, key_id: str | None, state: str | None, level: str | None, limit: int, cursor: str) -> Anomalies:
        """One page."""

    async def open_of(self, key_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The open anomalies of these keys, in any order."""

    async def acknowledge(self, anomaly_id: str, reason: str, actor: str) -> Judged:
        """Close an anomaly; the document as it is then."""

    async def mute(self, anomaly_id: str, until: float) -> Judged:
        """Silence the signals of an anomaly for its key until a time; the document as it is then."""
