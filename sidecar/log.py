"""Log lines: one JSON object each on standard error, from every process and every library alike.

Before a line is encoded, whatever looks like a credential is cut out of each of its fields, so that not even
a traceback of a library can carry one.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

from sidecar.outlet import Outlet, open_outlet

REDACTED = "[redacted]"

_CREDENTIAL = re.compile(
    # API keys and admin tokens, whatever their prefix, of up to 16 characters. In a repr the rest of an escape may stand before it.
    r"\b[a-z][a-z0-9]{1,20}_[0-9A-Za-z]{49}\b"
    r"|blocklet-[0-9A-Za-z]{8,}"  # the hub's own access keys
    r"|(?<=[Bb]earer )[\x21\x23-\x5b\x5d-\x7e]{8,}"
    r"|(?<=://)[^\s/@:\"]*:[^\s/@\"]*(?=@)"  # user:password of a URL
)
_PATIENCE, _REST = 0.05, 60.0
"""Seconds that a line waits for a slow reader, and after which another line may wait again."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """`text` without anything that has the form of a credential.

    Not for JSON: an escape such as `\\n` in front of a credential would hide it, or lose its second half.
    """
    return _CREDENTIAL.sub(REDACTED, text)


def _redacted(value: object) -> object:
    """`value` as JSON can have it, all texts in it redacted."""
    if isinstance(value, dict):
        return {redact(str(name)): _redacted(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


class JsonFormatter(logging.Formatter):
    """A record as one JSON line; what was passed as `extra` becomes fields of its own."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD and name not in line)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(_redacted(line), ensure_ascii=False)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines; a full disk, a closed pipe or a reader that has stopped costs lines, never the process that wrote them."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.lost = 0
        self._told = 0
        self._rest = b""
        """What has to end the last line, which was cut off: the rest of its last character, and a line end."""
        self._outlet = open_outlet(stream)
        self._patient_until = self._rested = 0.0

    def close(self) -> None:
        """Let go of what is held beside the stream."""
        super().close()
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line as far as it is taken at once: waiting for a reader would keep requests, and SIGTERM, waiting too."""
        try:
            text = self.format(record)
            if self.lost > self._told and (self._outlet is None or self._outlet.has_room(0.0)):
                self._tell()
            if not self._write(text):
                self.lost += 1
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the standard library's names
        """Count the loss: it is told with the first line that is taken again."""
        self.lost += 1

    def _tell(self) -> None:
        lost = self.lost
        if self._write(self.format(_warning(f"{lost - self._told} log lines were lost: nobody took them"))):
            self._told = lost

    def _write(self, line: str) -> bool:
        """Whether all of it was taken. In one piece, for other processes write to the same place."""
        if self._outlet is None:
            self.stream.write(line + self.terminator)
            self.flush()
            return True
        left = memoryview(self._rest + f"{line}{self.terminator}".encode(errors="backslashreplace"))
        while True:
            taken = self._outlet.take(left)
            left = left[taken:]
            if taken:
                self._rest = _rest_of_character(left) + b"\n" if left else b""
            if not left:
                return True
            if not self._awaits(self._outlet):
                return False

    def _awaits(self, outlet: Outlet) -> bool:
        """Whether there is room soon: a reader that is about to read is given a moment, once in a while, and one that has stopped none."""
        now = time.monotonic()
        if now >= self._rested:
            self._patient_until, self._rested = now + _PATIENCE, now + _REST
        return now < self._patient_until and outlet.has_room(self._patient_until - now)


def _rest_of_character(data: memoryview) -> bytes:
    next_ones = data[:3].tobytes()
    return next_ones[: next((at for at, byte in enumerate(next_ones) if byte & 0xC0 != 0x80), 3)]


def _warning(message: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, None, None)


def setup(level: str, process: str, stream: TextIO | None = None) -> None:
    """Send every logger of this process to `stream` (None: standard error) from `level` up; `process` names it in each line."""
    handler = LineHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries narrate every request and every reconnection; this program says those things itself, once.
    for name in ("aiohttp.access", "asyncio", "redis"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
