"""The answer to `/__blocklet__.js`, which the AIGNE SDK asks for before its first call. Pure.

It tells at which path of this origin the hub's API is mounted. The sidecar serves it at `/` whatever
the hub's own mount is: the SDK then calls `/api/v2/chat`, and the sidecar puts the hub's mount before it.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

AI_KIT_DID = "z8ia3xzq2tMq8CRHfaXj1BTYJyYnEcHbqP8cJ"
"""Identifier of the hub as a component of its site, where it is called `ai-kit`; SDKs look it up in the list of mount points."""

_DOCUMENT = msgspec.json.encode(
    {
        "appName": "AIGNE Hub",
        "prefix": "/",
        "componentId": AI_KIT_DID,
        "componentMountPoints": [{"title": "AIGNE Hub", "name": "ai-kit", "did": AI_KIT_DID, "mountPoint": "/", "status": "running"}],
    }
)


def blocklet_answer(query: str) -> tuple[str, bytes]:
    """Content type and body for a request with the raw `query`: JSON for `type=json`, else a script that sets `window.blocklet`."""
    if dict(parse_qsl(query)).get("type") == "json":
        return "application/json; charset=utf-8", _DOCUMENT
    return "application/javascript; charset=utf-8", b"window.blocklet = " + _DOCUMENT + b";\n"
