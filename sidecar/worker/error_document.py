"""The body of every refusal on the data plane. Apart from its users, which may be compiled: msgspec needs plain classes."""

from __future__ import annotations

import msgspec


class ErrorBody(msgspec.Struct, kw_only=True):
    """The `error` member of a refusal."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorDocument(msgspec.Struct):
    """The body of every refusal."""

    error: ErrorBody
