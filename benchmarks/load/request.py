"""What the load sends: the same bytes to every proxy but for the key."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

CHAT = "/api/v2/chat/completions"
STATUS = "/api/v2/status"
UPLOAD = "/api/v2/audio/transcriptions"
OPENAI_CHAT = "/v1/chat/completions"
BOUNDARY = "benchmark-boundary"


@dataclass(frozen=True)
class Request:
    """One request, sent over and over. `keys` are used in turn."""

    method: str
    target: str
    body: bytes = b""
    content_type: str = "application/json"
    keys: tuple[str, ...] = field(default=(), repr=False)

    def with_keys(self, *keys: str) -> Request:
        """The same request by somebody else."""
        return replace(self, keys=keys)

    def headers(self, key: str) -> dict[str, str]:
        """The header fields that a client sends, but for those that its library makes."""
        fields = {"Authorization": f"Bearer {key}", "Accept": "application/json", "User-Agent": "benchmark/1"}
        return fields | ({"Content-Type": self.content_type} if self.body else {})


def chat(target: str = CHAT, *, answer: str = "", size: int = 0) -> Request:
    """A small chat call, or one whose prompt has `size` bytes."""
    document = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Hello!" if not size else "x" * size}]}
    return Request("POST", target + (f"?answer={answer}" if answer else ""), json.dumps(document, separators=(",", ":")).encode())


def get() -> Request:
    """A call without a body."""
    return Request("GET", STATUS)


def stream(chunks: int, every: float, target: str = CHAT) -> Request:
    """A chat call whose answer comes as `chunks` events, one each `every` seconds."""
    document = {"model": "openai/gpt-5-mini", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    return Request("POST", f"{target}?answer=stream&chunks={chunks}&every={every}", json.dumps(document, separators=(",", ":")).encode())


def upload(size: int) -> Request:
    """A recording of `size` bytes as a form."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nopenai/whisper-1\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    )
    body = head.encode() + b"x" * size + f"\r\n--{BOUNDARY}--\r\n".encode()
    return Request("POST", UPLOAD, body, f"multipart/form-data; boundary={BOUNDARY}")
