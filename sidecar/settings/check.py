"""What no single setting can know: values that are well formed and still cannot work. Pure."""

from __future__ import annotations

import ipaddress
import re

import msgspec
from msgspec.structs import replace

from sidecar.settings.declaration import Authz, Settings
from sidecar.settings.values import Listen

LONGEST_SOCKET_PATH = 107
"""Bytes: sun_path holds 108, the last of which is a zero (unix(7))."""
ADMIN_TOKEN_PREFIX = "sat"  # noqa: S105
"""How admin tokens begin; an API key must never look like one."""

_NAME = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_ADDRESS_6 = r"\[[0-9A-Fa-f:.]+\]"
_HOST = re.compile(rf"(?:{_NAME}\.?|{_ADDRESS_6})(?::[0-9]{{1,5}})?|")
"""What may stand in a Host header; empty where nothing is set."""
_ALLOWED = re.compile(rf"{_NAME}|{_ADDRESS_6}|[0-9A-Fa-f:.]+")
"""What the host of a Host header is compared with."""


def faults_of(settings: Settings) -> list[str]:
    """One `path: sentence` for each fault."""
    return [*listener_faults(settings), *_proxy(settings), *_zeros(settings), *_hosts(settings), *_others(settings)]


def listener_faults(settings: Settings, requests: str = "proxy.listen") -> list[str]:
    """The faults of where it listens; `requests` is the setting that `proxy.listen` of these settings comes from."""
    faults = []
    used: dict[str, Listen] = {}
    places = {requests: settings.proxy.listen, "admin.listen": settings.admin.listen, "metrics.listen": settings.metrics.listen}
    for path, listen in places.items():
        if not listen.path and listen.port == 0:
            faults.append(f"{path}: needs a port from 1 to 65535, for every process that shares it must know it")
        if len(listen.path.encode()) > LONGEST_SOCKET_PATH:
            faults.append(f"{path}: the path of a unix socket has at most {LONGEST_SOCKET_PATH} bytes; choose a shorter one")
        faults += [f"{path}: is the address of {other} too; choose another one" for other, taken in used.items() if _clash(listen, taken)]
        used[path] = listen
    return faults


def authz_faults(settings: Settings) -> list[str]:
    """What keeps `sidecar authz` from listening where it is told to. The default is in the way of nobody who never runs that."""
    if settings.authz == Authz():
        return []
    asked = replace(settings, proxy=replace(settings.proxy, listen=settings.authz.listen))
    return [fault for fault in listener_faults(asked, "authz.listen") if "authz.listen" in fault]


def _clash(one: Listen, other: Listen) -> bool:
    """Whether both cannot be listened on at once."""
    if one.path or other.path:
        return one.path == other.path
    hosts = {"127.0.0.1" if listen.host == "localhost" else listen.host for listen in (one, other)}
    return one.port == other.port and (len(hosts) == 1 or bool(hosts & {"0.0.0.0", "::", "*"}))  # noqa: S104


def _proxy(settings: Settings) -> list[str]:
    proxy = settings.proxy
    faults = []
    if proxy.workers != "auto" and not 1 <= proxy.workers <= 256:
        faults.append("proxy.workers: must be a number from 1 to 256, or auto")
    for index, network in enumerate(proxy.trusted_proxies):
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            faults.append(f"proxy.trusted_proxies[{index}]: {error}; write a network such as 10.0.0.0/8")
    return faults


def _zeros(settings: Settings) -> list[str]:
    """Without any time a request cannot come, nor a session be kept; the ledger would be asked without a pause, a key be throttled
    again and again and be dormant at each use, and no event fit. A bound of 0 looks like none, and lets nothing through."""
    sections = {"proxy.timeouts": settings.proxy.timeouts, "proxy.bounds": settings.proxy.bounds}
    amounts = {f"{path}.{name}": value for path, section in sections.items() for name, value in msgspec.structs.asdict(section).items()} | {
        "admin.session_idle": settings.admin.session_idle,
        "admin.session_age": settings.admin.session_age,
        "reconcile.every": settings.reconcile.every,
        "anomaly.throttle_for": settings.anomaly.throttle_for,
        "anomaly.dormant_after": settings.anomaly.dormant_after,
        "spool.segment_bytes": settings.spool.segment_bytes,
    }
    return [f"{path}: must be more than 0" for path, amount in amounts.items() if amount <= 0]


def _hosts(settings: Settings) -> list[str]:
    faults = []
    if not _HOST.fullmatch(settings.hub.host):
        faults.append("hub.host: is no host; write what the hub expects in Host, such as hub.example or hub.example:8443")
    for index, name in enumerate(settings.admin.allowed_hosts):
        if not _ALLOWED.fullmatch(name):
            # It would be compared with what browsers send, and never be the same.
            faults.append(f"admin.allowed_hosts[{index}]: is no host name; write it alone, as console.example, without scheme and port")
    return faults


def _others(settings: Settings) -> list[str]:
    faults = []
    if not re.fullmatch(r"[\x20-\x7e]*", settings.hub.access_key.reveal()):
        faults.append("hub.access_key: has characters that a header cannot carry; it is one line of printable ASCII")
    if settings.keys.prefix == ADMIN_TOKEN_PREFIX:
        faults.append(f"keys.prefix: {ADMIN_TOKEN_PREFIX} is how admin tokens begin; choose another one")
    if 0 < settings.proxy.bounds.inspected_total < settings.proxy.bounds.inspected_body:
        # A body that fits the one and never the other would be answered with 503 each time, as if it were worth another try.
        faults.append("proxy.bounds.inspected_total: must be at least proxy.bounds.inspected_body")
    if settings.spool.max_bytes < 2 * settings.spool.segment_bytes:
        faults.append("spool.max_bytes: must be at least twice spool.segment_bytes")
    if settings.usage.hours < settings.usage.minutes:
        # What is older than the hours is told from them alone, so that it would be told as nothing.
        faults.append("usage.hours: must be at least usage.minutes")
    if not settings.data_dir.strip():
        faults.append("data_dir: needs the path of a directory")
    if not settings.keys.pepper_file.strip():
        faults.append("keys.pepper_file: needs the path of a file; leave it out for `pepper` in data_dir")
    for index, network in enumerate(settings.anomaly.known_networks):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            faults.append(f"anomaly.known_networks[{index}]: {error}; write a network such as 10.0.0.0/8")
    return faults
