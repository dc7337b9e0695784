"""Reads the fields of a form that was sent. Anybody may send one to the sign-in, in any shape."""

from __future__ import annotations

import asyncio

from aiohttp import web

from sidecar.control.admin import errors
from sidecar.control.admin.errors import AdminError

_TIMEOUT = 30.0


async def posted(request: web.Request) -> list[tuple[str, str]]:
    """The fields and their texts, without files; AdminError 400 when they cannot be read, HTTPRequestEntityTooLarge."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            fields = await request.post()
        texts = [(name, value) for name, value in fields.items() if isinstance(value, str)]
        for name, value in texts:
            # Some charsets give halves of characters, which nothing behind this takes for text.
            (name + value).encode()
    except TimeoutError:
        raise AdminError(errors.INVALID_REQUEST, "The form did not arrive in time, so nothing was done.") from None
    except (ValueError, LookupError, RuntimeError, web.RequestPayloadError):
        # What aiohttp raises for no boundary, an unknown charset, an unknown transfer encoding, and another content encoding than named.
        raise AdminError(errors.INVALID_REQUEST, "This form cannot be read, so nothing was done.") from None
    return texts
