"""Meter: what happened to one request, written to the spool as one event before the client sees the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sidecar.events.record import NO_TOKENS, VERSION, Ending, Interim, Tokens
from sidecar.events.wire import encode, joined
from sidecar.redaction import without_secrets
from sidecar.refusals import Outcome, Refusal

INTERIM_SECONDS = 60.0
"""Seconds after which an answer that still goes on is told of."""
LONGEST_AGENT = 256
LONGEST_MODEL = 128
"""Characters that are kept of a User-Agent and of a model's name."""


class Spool(Protocol):
    """Where events go."""

    def append(self, record: bytes) -> bool:
        """Keep one record; False when it had to be dropped."""


class Record:
    """One request while it is under way. Times are seconds of the clock that measures durations."""

    __slots__ = (
        "agent", "auth", "bytes_in", "bytes_out", "client", "ending", "error", "finished", "first_byte", "hub_started", "hub_status",
        "hub_time", "in_trace", "interim_at", "interim_in", "interim_out", "key_id", "method", "model", "model_served", "outcome", "path",
        "queue", "quota_period", "reason", "request_id", "reserved", "route", "secret_id", "secret_state", "shadow", "span_id",
        "started", "status", "streaming", "tokens", "trace_id", "traceparent", "usage_source",
    )  # fmt: skip

    def __init__(self, request_id: str, started: float) -> None:
        self.request_id = request_id
        self.started = started
        self.finished = False
        self.key_id = self.secret_id = self.secret_state = ""
        self.outcome: Outcome = "ok"
        self.reason = self.error = self.shadow = ""
        self.status = self.hub_status = 0
        self.method = self.route = self.path = self.model = self.model_served = ""
        self.client = self.agent = self.trace_id = self.span_id = self.traceparent = self.quota_period = ""
        self.streaming = False
        self.in_trace = False
        """Whether the trace is the caller's."""
        self.ending: Ending = "complete"
        self.auth = self.queue = self.first_byte = self.hub_started = self.hub_time = 0.0
        self.bytes_in = self.bytes_out = 0
        self.interim_at = started + INTERIM_SECONDS
        self.interim_in = self.interim_out = 0
        self.reserved = 0
        """Tokens that the call of a limited key is taken for until its use is known; 0 when the answer will never tell it."""
        self.tokens: Tokens = NO_TOKENS
        self.usage_source = "none"

    def refused(self, refusal: Refusal) -> None:
        """The sidecar says no."""
        self.status = refusal.status
        self.outcome = refusal.outcome
        self.reason = refusal.code
        self.ending = "refused"

    def broken_off(self, refusal: Refusal, ending: Ending) -> None:
        """The sidecar ends an answer that has begun: its status has been told, and stays."""
        self.outcome, self.reason, self.ending = refusal.outcome, refusal.code, ending

    def answered(self, status: int) -> None:
        """The hub has answered: `status` is the hub's, and the client's unless that was told something else meanwhile."""
        self.hub_status = status
        if self.ending != "complete":
            return
        self.status = status
        if status >= 500 or status in (402, 429):
            # Out of credit or throttled at the hub: nothing that this client did wrong.
            self.outcome, self.reason = "hub_error", f"{status // 100}xx"
        elif status >= 400:
            self.outcome, self.reason = "client_error", "4xx"


class Meter:
    """Writes events."""

    def __init__(self, spool: Spool, wall_clock: Callable[[], float], clock: Callable[[], float]) -> None:
        self._spool = spool
        self._wall_clock = wall_clock
        self._clock = clock

    def finish(self, record: Record) -> None:
        """Write the event of `record`, once. Call it before the answer's last byte is handed to the socket."""
        if record.finished:
            return
        record.finished = True
        traits = (
            record.key_id, record.secret_id, record.outcome, record.reason, record.status, record.hub_status, record.method, record.route,
            without_secrets(record.path), without_secrets(record.model, LONGEST_MODEL),
            without_secrets(record.model_served, LONGEST_MODEL), record.client, record.agent, record.streaming, record.ending,
            record.usage_source, record.shadow, record.secret_state, record.quota_period, record.error, VERSION,
        )  # fmt: skip
        packed = joined(
            traits, (record.request_id, record.trace_id, record.span_id), self._wall_clock(), self._clock() - record.started,
            record.auth, record.queue, record.first_byte, record.hub_time, record.bytes_in, record.bytes_out, record.tokens,
            record.interim_in, record.interim_out,
        )  # fmt: skip
        self._spool.append(packed)

    def progress(self, record: Record) -> None:
        """Write an interim event when a stream has run for another minute; cheap to call on every piece."""
        now = self._clock()
        if now < record.interim_at:
            return
        record.interim_at = now + INTERIM_SECONDS
        moved_in, moved_out = record.bytes_in - record.interim_in, record.bytes_out - record.interim_out
        # What the spool had no room for is told by the next record.
        if self._spool.append(encode(Interim(self._wall_clock(), record.request_id, record.key_id, moved_in, moved_out))):
            record.interim_in, record.interim_out = record.bytes_in, record.bytes_out
