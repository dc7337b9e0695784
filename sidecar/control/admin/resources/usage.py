"""Use of keys, the call log, and who would be refused if shadow enforcement were real."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import msgspec

from sidecar.control.admin import endpoints
from sidecar.control.admin.csv_export import stream
from sidecar.control.admin.decoding import faulty
from sidecar.control.admin.endpoint import Answer, Call, Nothing, Route
from sidecar.control.admin.key_errors import known_key
from sidecar.control.admin.messages import usage as messages
from sidecar.control.admin.shadow import Shadow
from sidecar.control.admin.times import Time, to_seconds, to_time, to_time_or_none
from sidecar.control.admin.usage_document import as_csv, as_json
from sidecar.control.queries import CallPage, CallQueries, GroupBy, Step, UsageQueries, UsageReport
from sidecar.control.turns import Turns
from sidecar.events.record import Request
from sidecar.keys.reader import KeyReader

_PAGE, _USUAL_PAGE = 1000, 100
_SHADOW_BOUND = 50_000
_STEPS_OF_AN_ENTRY = 5
"""Making an entry of the shadow report takes as long as some small steps."""
_DAY = 86400.0


class Usage:
    """Serves `usage.*`, `requests.*` and `shadow.*`; `reach` is for how many seconds use is kept at most."""

    def __init__(self, usage: UsageQueries, calls: CallQueries, keys: KeyReader, reach: float, clock: Callable[[], float]) -> None:
        self._usage = usage
        self._reach = reach
        self._clock = clock
        self._calls = calls
        self._keys = keys

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [
            endpoints.USAGE.bind(self.all_keys),
            endpoints.KEY_USAGE.bind(self.one_key),
            endpoints.REQUESTS.bind(self.requests),
            endpoints.SHADOW_REPORT.bind(self.shadow_report),
        ]

    async def all_keys(self, call: Call[messages.UsageQuery, Nothing]) -> Answer:
        """The use of all keys together."""
        query = call.query
        start, end = span(query.from_, query.to)
        report = await self._report(None, start, end, query.step, query.group_by)
        return await self._answer(call.media is not None, report, query.group_by)

    async def one_key(self, call: Call[messages.UsageQuery, Nothing]) -> Answer:
        """The use of one key."""
        query = call.query
        key_id = call.path["key_id"]
        await known_key(self._keys, key_id)
        start, end = span(query.from_, query.to)
        report = await self._report(key_id, start, end, query.step, query.group_by)
        return await self._answer(call.media is not None, report, query.group_by)

    async def _report(
        self, key_id: str | None, start: float | None, end: float | None, step: Step, group_by: GroupBy | None
    ) -> UsageReport:
        """The report over what can be kept: a span of millennia is not walked through, and is answered as it was asked."""
        now = self._clock()
        oldest, latest = now - self._reach - _DAY, now + _DAY
        first = None if start is None else min(max(start, oldest), latest)
        last = None if end is None else max(min(end, latest), oldest)
        report = await self._usage.usage(key_id, first, last, step, group_by)
        return replace(report, start=report.start if first == start else start, end=report.end if last == end else end)

    async def _answer(self, is_csv: bool, report: UsageReport, group_by: GroupBy | None) -> Answer:
        if is_csv:
            return Answer(200, media="text/csv", stream=as_csv(report), filename="usage.csv")
        names = await self._names(report.groups.names) if group_by == "key" and report.groups is not None else {}
        return Answer(200, stream=as_json(report, names))

    async def requests(self, call: Call[messages.CallsQuery, Nothing]) -> Answer:
        """The call log: a page as JSON, or everything that matches, to a given limit, as CSV."""
        query = call.query
        if call.media is not None:
            fields = messages.CallObject.__struct_fields__
            rows = (
                [msgspec.structs.astuple(call_object(each)) for each in page] async for page in self._pages(query, query.limit or math.inf)
            )
            return Answer(200, media="text/csv", stream=stream(fields, rows), filename="requests.csv")
        page = await self._page(query, query.limit or _USUAL_PAGE, query.cursor)
        return Answer(200, messages.CallList(data=[call_object(each) for each in page.calls], next_cursor=page.next_cursor or None))

    async def shadow_report(self, call: Call[messages.ShadowQuery, Nothing]) -> Answer:
        """Which clients enforcement would break, from the call log."""
        query = call.query
        wanted = messages.CallsQuery(key=query.key, from_=query.from_, to=query.to)
        shadow = Shadow()
        complete = True
        # One more than it looks at: only that tells whether there is one.
        async for page in self._pages(wanted, _SHADOW_BOUND + 1):
            complete = shadow.calls + len(page) <= _SHADOW_BOUND
            shadow.add(page[: _SHADOW_BOUND - shadow.calls])
        key_ids = shadow.key_ids()
        keys = dict(zip(key_ids, await self._keys.get_many(key_ids), strict=True)) if key_ids else {}
        turns, entries = Turns(), []
        for entry in shadow.entries(keys):
            entries.append(entry)
            await turns.after(_STEPS_OF_AN_ENTRY)
        since = to_time_or_none(shadow.since)
        return Answer(200, messages.ShadowReport(data=entries, calls=shadow.calls, since=since, complete=complete))

    async def _names(self, key_ids: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for first in range(0, len(key_ids), _PAGE):
            part = key_ids[first : first + _PAGE]
            keys = await self._keys.get_many(part)
            found |= {key_id: key.name for key_id, key in zip(part, keys, strict=True) if key is not None}
        return found

    async def _page(self, query: messages.CallsQuery, limit: int, cursor: str) -> CallPage:
        start, end = span(query.from_, query.to)
        try:
            return await self._calls.calls(key_id=query.key, outcome=query.outcome, start=start, end=end, limit=limit, cursor=cursor)
        except ValueError:
            raise faulty([("cursor", "is not a cursor that this list has given out")]) from None

    async def _pages(self, query: messages.CallsQuery, bound: float = math.inf) -> AsyncIterator[list[Request]]:
        """Page after page, newest first, `bound` calls at most."""
        cursor, seen = query.cursor, 0
        while seen < bound:
            page = await self._page(query, int(min(_PAGE, bound - seen)), cursor)
            yield page.calls
            seen += len(page.calls)
            cursor = page.next_cursor
            if not cursor:
                return


def span(start: Time | None, end: Time | None) -> tuple[float | None, float | None]:
    """[from, to) in Unix seconds; AdminError when it ends before it begins."""
    first = None if start is None else to_seconds(start)
    last = None if end is None else to_seconds(end)
    if first is not None and last is not None and last < first:
        raise faulty([("to", "must not be before from")])
    return first, last


def call_object(event: Request) -> messages.CallObject:
    """A call as clients see it; times in milliseconds."""
    tokens = event.tokens
    return messages.CallObject(
        time=to_time(event.time),
        request_id=event.request_id,
        key_id=event.key_id,
        secret_id=event.secret_id,
        outcome=event.outcome,
        reason=event.reason,
        status=event.status,
        hub_status=event.hub_status,
        method=event.method,
        route=event.route,
        path=event.path,
        model=event.model,
        model_served=event.model_served,
        client=event.client,
        agent=event.agent,
        streaming=event.streaming,
        ending=event.ending,
        duration_ms=_milliseconds(event.total),
        first_byte_ms=_milliseconds(event.first_byte),
        overhead_ms=_milliseconds(max(0.0, event.total - event.hub_time)),
        bytes_in=event.bytes_in,
        bytes_out=event.bytes_out,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cached_input_tokens=tokens.cached_input,
        cache_creation_input_tokens=tokens.cache_creation_input,
        images=tokens.images,
        credits=tokens.credits,
        usage_source=event.usage_source,
        shadow=event.shadow,
        error=event.error,
        trace_id=event.trace_id,
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
