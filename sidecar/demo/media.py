"""The pictures and sounds that the demo hub makes. Pure."""

from __future__ import annotations

import struct
import zlib


def picture(color: tuple[int, int, int] = (38, 122, 89), size: int = 64) -> bytes:
    """A PNG of one color."""
    rows = (b"\0" + bytes(color) * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def silence(seconds: float = 0.25, rate: int = 8000) -> bytes:
    """A WAV file in which nothing is said."""
    samples = b"\x80" * int(seconds * rate)
    return (
        b"RIFF"
        + struct.pack("<I4s4sIHHIIHH4sI", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, rate, rate, 1, 8, b"data", len(samples))
        + samples
    )


def vector(length: int = 8) -> list[float]:
    """An embedding."""
    return [round((index * 37 % 17) / 17 - 0.5, 4) for index in range(length)]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
