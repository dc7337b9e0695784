"""The access log: one JSON line for each request, with field names by OpenTelemetry's conventions.

Only what is listed here is ever logged: no header, no query, no body. Writing goes through a bounded
queue and a thread of its own, so a slow reader of standard output costs lines and never time.
"""

from __future__ import annotations

import io
import queue
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec

from sidecar.control.totals.sums import Sums
from sidecar.events.record import Request
from sidecar.events.wire import decode_all
from sidecar.log import redact

WAITING = 10_000
"""Lines that may wait for the reader."""
_LONGEST_AGENT = 256


def standard_output() -> BinaryIO:
    """Standard output; where it has a buffer (without PYTHONUNBUFFERED), with one of its own.

    The interpreter flushes that of `sys.stdout` when it ends, and aborts where a thread that waits for the reader holds it.
    """
    found = sys.stdout.buffer
    return open(found.fileno(), "wb", closefd=False) if isinstance(found, io.BufferedWriter) else found


def line(event: Request, client: Callable[[str], str], network: Callable[[str], str]) -> dict[str, object]:
    """The fields of one request; times in milliseconds, sizes in bytes."""
    return {
        "ts": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "error" if event.outcome == "sidecar_error" else "info",
        "event": "http.request",
        "trace_id": event.trace_id,
        "span_id": event.span_id,
        "request_id": event.request_id,
        "http.request.method": event.method,
        "http.route": event.route,
        "url.path": event.path,
        "http.response.status_code": event.status,
        "client.address": client(event.client),
        "client.network": network(event.client),
        "user_agent.original": event.agent[:_LONGEST_AGENT],
        "key.id": event.key_id,
        "key.secret_id": event.secret_id,
        "key.outcome": event.outcome,
        "key.reason": event.reason,
        "key.shadow_reason": event.shadow,
        "gen_ai.request.model": event.model,
        "gen_ai.response.model": event.model_served,
        "gen_ai.usage.input_tokens": event.tokens.input,
        "gen_ai.usage.output_tokens": event.tokens.output,
        "usage_source": event.usage_source,
        "http.request.body.size": event.bytes_in,
        "http.response.body.size": event.bytes_out,
        "streaming": event.streaming,
        "ending": event.ending,
        "duration_ms": _milliseconds(event.total),
        "overhead_ms": _milliseconds(max(0.0, event.total - event.hub_time)),
        "queue_ms": _milliseconds(event.queue),
        "upstream_ttfb_ms": _milliseconds(event.first_byte),
        "upstream.status": event.hub_status,
        "error": event.error,
    }


class AccessLog:
    """Writes the requests it observes to `stream`; `sample` is the share of successful ones that is logged."""

    def __init__(self, stream: BinaryIO, *, sample: float, client: Callable[[str], str], network: Callable[[str], str]) -> None:
        self.dropped = 0
        self._sample = int(sample * (1 << 32))
        self._client = client
        self._network = network
        self._queue: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self._stream = stream
        # A daemon: a reader that never reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        """Log the finished requests among `records`."""
        del spool_id, sums
        for event in decode_all(records):
            if isinstance(event, Request) and self._takes(event):
                fields = line(event, self._client, self._network)
                text = msgspec.json.encode({name: redact(value) if isinstance(value, str) else value for name, value in fields.items()})
                try:
                    self._queue.put_nowait(text + b"\n")
                except queue.Full:
                    self.dropped += 1

    def retire(self, spool_id: str) -> None:
        """Nothing is kept for a spool."""

    def close(self, within: float = 1.0) -> None:
        """Write what waits, as far as the reader takes it in time."""
        try:
            self._queue.put(None, timeout=within)
        except queue.Full:
            return
        self._thread.join(within)

    def _takes(self, event: Request) -> bool:
        # By request id, so that replicas and repeated runs choose the same requests.
        return event.outcome != "ok" or zlib.crc32(event.request_id.encode()) < self._sample

    def _write(self) -> None:
        while (text := self._queue.get()) is not None:
            try:
                self._stream.write(text)
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                self.dropped += 1
        with suppress(OSError, ValueError):
            # The last line is not out: the end stood behind it, so that the queue was not empty.
            self._stream.flush()


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
