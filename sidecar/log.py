"""Log lines: one JSON object each on standard error, from every process and every library alike.

The last thing that happens to a line is that whatever looks like a credential is cut out of it, so
that not even a traceback of a library can carry one.
"""

from __future__ import annotations

import json
import logging
import re
import select
import sys
from datetime import UTC, datetime
from typing import TextIO

REDACTED = "[redacted]"

_CREDENTIAL = re.compile(
    r"\b[a-z][a-z0-9]{1,15}_[0-9A-Za-z]{49}\b"  # API keys and admin tokens, whatever their prefix
    r"|\bblocklet-[0-9A-Za-z]{8,}"  # the hub's own access keys
    r"|(?<=[Bb]earer )[\x21\x23-\x5b\x5d-\x7e]{8,}"
    r"|(?<=://)[^\s/@:\"]*:[^\s/@\"]*(?=@)"  # user:password of a URL
)
_PIECE = 1024
"""Characters: no more bytes than a pipe that can be written to takes without waiting (PIPE_BUF, pipe(7))."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """`text` without anything that has the form of a credential."""
    return _CREDENTIAL.sub(REDACTED, text)


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
        return redact(json.dumps(line, ensure_ascii=False, default=str))


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines; a full disk, a closed pipe or a reader that has stopped costs lines, never the process that wrote them."""

    lost = 0
    _told = 0
    _is_open = False
    """The last line was cut off."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line as far as it is taken at once: waiting for a reader would keep requests, and SIGTERM, waiting too."""
        try:
            text = self.format(record) + self.terminator
            if self.lost > self._told and _has_room(self.stream):
                told, self._told = self.lost - self._told, self.lost
                text = self.format(_warning(f"{told} log lines were lost: nobody took them")) + self.terminator + text
            self._write("\n" + text if self._is_open else text)
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the standard library's names
        """Count the loss: it is told with the first line that is taken again."""
        self.lost += 1

    def _write(self, text: str) -> None:
        for start in range(0, len(text), _PIECE):
            if not _has_room(self.stream):
                self.lost += 1
                return
            self.stream.write(text[start : start + _PIECE])
            self.flush()
            self._is_open = start + _PIECE < len(text)


def _has_room(stream: TextIO) -> bool:
    """Whether a piece may be written without waiting. What is no pipe, socket or terminal takes anything, or fails at once."""
    try:
        found = select.poll()
        found.register(stream.fileno(), select.POLLOUT)
        return bool(found.poll(0))
    except (OSError, ValueError):
        return True


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
