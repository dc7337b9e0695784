"""Opens an aiohttp application on an address of the settings."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress

from aiohttp import web

from sidecar.settings.declaration import Tls
from sidecar.settings.values import Listen

UNIX_MODE = 0o660


async def serve(app: web.Application, listen: Listen, tls: Tls | None = None) -> web.AppRunner:
    """Serve `app` until the runner's `cleanup`. Raises OSError when the address cannot be had."""
    # The body bound of each route is the application's own; the log of requests is the audit log and the access log.
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    context = _context(tls) if tls is not None else None
    site: web.BaseSite
    if listen.path:
        with suppress(FileNotFoundError):
            os.unlink(listen.path)
        site = web.UnixSite(runner, listen.path, ssl_context=context)
    else:
        # Two control processes share the port for a moment while one takes over from the other.
        site = web.TCPSite(runner, listen.host, listen.port, ssl_context=context, reuse_port=True)
    await site.start()
    if listen.path:
        os.chmod(listen.path, UNIX_MODE)
    return runner


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context
