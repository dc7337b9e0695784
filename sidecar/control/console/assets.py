"""Static files under names that change with their content, so that browsers may keep them for ever.

They are sent compressed, pages are not: the size of a compressed page would tell an onlooker whether a
guessed text stands beside its form token.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files

from aiohttp import web

from sidecar.control.accepted import weights_of

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
PREFIX = "/static"


class Assets:
    """All files of the folder `static`, read once."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._files: dict[str, tuple[bytes, bytes, str]] = {}
        for file in files("sidecar.control.console").joinpath("static").iterdir():
            stem, _, suffix = file.name.rpartition(".")
            if suffix in _TYPES:
                data = file.read_bytes()
                served = f"{stem}.{hashlib.sha256(data).hexdigest()[:12]}.{suffix}"
                self._urls[file.name] = f"{PREFIX}/{served}"
                self._files[served] = (data, gzip.compress(data, mtime=0), _TYPES[suffix])

    def url(self, name: str) -> str:
        """Where the file is served; KeyError when there is none."""
        return self._urls[name]

    async def serve(self, request: web.Request) -> web.Response:
        """One file; public, for there is nothing in them but the console's own code."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        data, compressed, media = found
        packed = bool(weights_of(request.headers.get("Accept-Encoding", "")).get("gzip"))
        headers = {**_HEADERS, "Content-Encoding": "gzip"} if packed else _HEADERS
        charset = None if media == "image/svg+xml" else "utf-8"
        return web.Response(body=compressed if packed else data, content_type=media, charset=charset, headers=headers)
