"""Remembers what reached the demo hub, for tests that prove what does not. Bounded, in order of arrival."""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KEPT_BODY = 32 << 20
KEPT_REQUESTS = 10_000


@dataclass(slots=True)
class Recorded:
    """One request as it came in; `body` has its first 32 MiB, `length` and `sha256` speak of all of it."""

    method: str
    target: str
    """Raw request target."""
    fields: tuple[tuple[bytes, bytes], ...]
    """Header fields in order and spelling."""
    body: bytes = b""
    length: int = 0
    sha256: str = ""
    complete: bool = False
    """Whether the whole body arrived."""

    @property
    def head(self) -> bytes:
        """The request line and header lines."""
        lines = [f"{self.method} {self.target} HTTP/1.1".encode(), *(name + b": " + value for name, value in self.fields)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def values(self, name: str) -> list[str]:
        """Every value of the header `name`."""
        return [value.decode("latin-1") for key, value in self.fields if key.decode("latin-1").lower() == name.lower()]

    def value(self, name: str) -> str | None:
        """The only value of the header `name`; None when it is not there or there twice."""
        values = self.values(name)
        return values[0] if len(values) == 1 else None

    def as_json(self) -> dict[str, Any]:
        """For a test in another process."""
        return {
            "method": self.method,
            "target": self.target,
            "head": self.head.decode("latin-1"),
            "body": base64.b64encode(self.body).decode(),
            "length": self.length,
            "sha256": self.sha256,
            "complete": self.complete,
        }


@dataclass(slots=True)
class Recorder:
    """The requests of one hub."""

    requests: deque[Recorded] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    seen: int = 0
    """All requests since the start or since `clear`."""
    in_flight: int = 0
    peak: int = 0
    """Most requests at a time."""

    def __iter__(self) -> Iterator[Recorded]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, index: int) -> Recorded:
        return self.requests[index]

    def begin(self, recorded: Recorded) -> None:
        """A head has arrived."""
        self.requests.append(recorded)
        self.seen += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def end(self) -> None:
        """A request is over."""
        self.in_flight -= 1

    def clear(self) -> None:
        """Forget what is over."""
        self.requests.clear()
        self.seen = 0
        self.peak = self.in_flight


class BodyRecord:
    """Takes a body in pieces."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._hash = hashlib.sha256()
        self._kept = bytearray()

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._hash.update(piece)
        self._recorded.length += len(piece)
        self._kept += piece[: KEPT_BODY - len(self._kept)]

    def finish(self, *, complete: bool) -> None:
        """The body has ended."""
        self._recorded.body = bytes(self._kept)
        self._recorded.sha256 = self._hash.hexdigest()
        self._recorded.complete = complete
