"""An aiohttp session to the hub, for what is not a client's request: probes and the hub's ledger."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

import aiohttp

from sidecar.settings.declaration import Hub

_ACCESS_KEY = "{access_key}"
_PLACEHOLDER = re.compile(r"\{\w+\}")


def open_session(hub: Hub, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """A session that reaches `hub.url`, be it a unix socket or behind TLS, and keeps no cookies; raises OSError when `ca_file` is none."""
    url = hub.url
    connector: aiohttp.BaseConnector
    if url.socket:
        connector = aiohttp.UnixConnector(url.socket)
    elif url.scheme == "https" and hub.ca_file:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=hub.ca_file))
    else:
        connector = aiohttp.TCPConnector()
    return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


def address(hub: Hub, path: str) -> str:
    """The URL of a path below the hub's mount prefix."""
    url = hub.url
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"http://hub{url.mount}{path}" if url.socket else f"{url.scheme}://{host}:{url.port}{url.mount}{path}"


def headers(hub: Hub, inject: Mapping[str, str], *, with_key: bool) -> dict[str, str]:
    """Host, where it is configured, and the access key in the fields in which the profile's `headers.inject` has it.

    What else such a field would tell (key, client) is left empty: nobody's call is made here.
    """
    fields = {"Host": hub.host} if hub.host else {}
    if with_key and hub.access_key:
        for name, template in inject.items():
            if _ACCESS_KEY in template:
                before, after = (_PLACEHOLDER.sub("", part) for part in template.split(_ACCESS_KEY, 1))
                fields[name] = f"{before}{hub.access_key.reveal()}{after}"
    return fields
