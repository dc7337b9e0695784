"""What can be seen on this machine alone: files, ports, limits, and settings that are valid but unwise."""

from __future__ import annotations

import errno
import ipaddress
import os
import resource
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from sidecar.cli.doctor.check import Check, fail, ok, warn
from sidecar.hubs.protocol import protocol_named
from sidecar.keys import digest
from sidecar.keys.pepper_files import obstacle
from sidecar.settings import Settings
from sidecar.settings.values import Listen, read_network
from sidecar.supervisor import data_dir, embedded_store
from sidecar.supervisor.listeners import fault_of

_LITTLE_SPACE = 1 << 30
_SPARE_DESCRIPTORS = 256
_PATIENCE = 2.0
"""Seconds for a connection to this machine."""
_SELF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where a listener on every address is reached."""
_AS_SERVICE = "run this as the user of the sidecar"


def checks(settings: Settings, *, running: bool) -> Iterator[Check]:
    """Every finding about this machine; `running` says whether the sidecar runs."""
    yield from _data_dir(settings)
    yield _pepper(settings)
    yield from _previous_pepper(settings.keys.previous_pepper_file)
    yield _hub_key(settings)
    for name, listen in (
        _for_requests(settings, running),
        ("admin.listen", settings.admin.listen),
        ("metrics.listen", settings.metrics.listen),
    ):
        yield _port(name, listen, running)
    yield from _exposure(settings)
    yield _descriptors(settings)
    if settings.store.url == "embedded":
        yield _server()


def _data_dir(settings: Settings) -> Iterator[Check]:
    path = Path(settings.data_dir)
    try:
        fault = data_dir.fault_of(path)
    except FileNotFoundError:
        parent = next(parent for parent in path.absolute().parents if parent.exists())
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            yield ok("data_dir", f"{path} is made at the first start")
        else:
            yield fail("data_dir", f"{path} cannot be made below {parent}", "set data_dir to a directory that this user may write")
        return
    except OSError as error:
        yield fail("data_dir", f"{path} cannot be looked at ({error.strerror})", _AS_SERVICE)
        return
    if fault:
        finding, _, advice = fault.removeprefix("data_dir ").partition("; ")
        yield fail("data_dir", finding, advice)
        return
    free = shutil.disk_usage(path).free
    if free < _LITTLE_SPACE:
        yield warn("data_dir", f"{path} has only {free >> 20} MiB left", "make room, or events may be dropped while the store is away")
    else:
        yield ok("data_dir", f"{path} is private and has {free >> 30} GiB left")


def _pepper(settings: Settings) -> Check:
    path = Path(settings.keys.pepper_file)
    try:
        pepper = digest.load(path)
    except FileNotFoundError:
        if reason := obstacle(path):
            return fail(
                "pepper", f"{path} does not exist and cannot be made ({reason})", "correct keys.pepper_file, or bring the file back"
            )
        return ok("pepper", f"{path} is made at the first start")
    except PermissionError as error:
        return fail("pepper", f"{path} cannot be read ({error.strerror})", _AS_SERVICE)
    except (OSError, ValueError) as error:
        return fail("pepper", f"{path} cannot be used ({error})", "bring the file back from your backup: without it no key is valid")
    if path.stat().st_mode & stat.S_IRWXO:
        return warn("pepper", f"{path} can be read by other users", f"run: chmod 600 {path}")
    return ok("pepper", f"{path} (id {pepper.id}); keep a copy of it apart from the store's backup")


def _previous_pepper(file: str) -> Iterator[Check]:
    try:
        if file:
            digest.load(Path(file))
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        advice = "bring the file back, or take keys.previous_pepper_file out if every key has moved over"
        yield fail("previous pepper", f"{file} cannot be used ({reason}), and nothing starts with it", advice)


def _hub_key(settings: Settings) -> Check:
    key = settings.hub.access_key.reveal()
    is_aigne = protocol_named(settings.hub.profile) == "aigne"
    if not key and is_aigne:
        return warn(
            "hub.access_key",
            "is empty, and the hub answers nobody without",
            "set hub.access_key or hub.access_key_file to an access key of the hub",
        )
    if key and is_aigne and not key.startswith("blocklet-"):
        return warn(
            "hub.access_key",
            "does not look like an access key of the hub (blocklet-…)",
            "make one in the site's administration (Integrations, Access Keys), with the role Guest or Member",
        )
    return ok("hub.access_key", "is set" if key else "is empty: the hub gets no credential")


def _for_requests(settings: Settings, running: bool) -> tuple[str, Listen]:
    """Where requests arrive: `sidecar authz` serves another address than `sidecar serve`, and the file does not tell which one runs."""
    if running and not _is_served(settings.proxy.listen) and _is_served(settings.authz.listen):
        return "authz.listen", settings.authz.listen
    return "proxy.listen", settings.proxy.listen


def _is_served(listen: Listen) -> bool:
    fault = fault_of(listen)
    if fault is not None and fault.errno in (errno.EACCES, errno.EPERM):
        # A port below 1024, which this user may not try to take: whoever answers there has it.
        return _answers(listen)
    return fault is not None and fault.errno == errno.EADDRINUSE


def _answers(listen: Listen) -> bool:
    try:
        with socket.create_connection((_SELF.get(listen.host, listen.host), listen.port), _PATIENCE):
            return True
    except (OSError, ValueError):
        return False


def _port(name: str, listen: Listen, is_running: bool) -> Check:
    if is_running:
        if _is_served(listen):
            return ok(name, f"{listen} is served by the running sidecar")
        return fail(name, f"{listen} is not served although a sidecar runs", "look at the sidecar's log")
    fault = fault_of(listen)
    if fault is None:
        return ok(name, f"{listen} is free")
    if fault.errno == errno.EADDRINUSE:
        return fail(name, f"{listen} is in use by another program", "stop it, or choose another address")
    return fail(name, f"{listen} cannot be listened on ({fault.strerror})", "choose another address, or a port from 1024 on")


def _exposure(settings: Settings) -> Iterator[Check]:
    for name, listen, tls in (("proxy", settings.proxy.listen, settings.proxy.tls), ("admin", settings.admin.listen, settings.admin.tls)):
        if not listen.path and not _is_loopback(listen.host) and tls is None:
            advice = f"set {name}.tls, or end TLS in a proxy before it" if name == "proxy" else "set admin.tls, or listen on 127.0.0.1"
            yield warn(f"{name}.tls", f"keys and tokens travel in clear text to {listen}", advice)
    open_networks = [network for network in settings.proxy.trusted_proxies if read_network(network).prefixlen == 0]
    if open_networks:
        yield warn("trusted_proxies", f"{open_networks[0]} lets everybody choose his address", "name the networks of your proxies only")
    if settings.enforcement != "enforce":
        yield warn("enforcement", f"is {settings.enforcement}: keys are not enforced", "set enforcement: enforce when the trial is over")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _descriptors(settings: Settings) -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.proxy.bounds.connections + settings.hub.max_connections + _SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return warn(
            "open files", f"at most {hard} for a process, and a worker may want {wanted}", "raise the limit (ulimit -Hn, LimitNOFILE=)"
        )
    return ok("open files", f"{'no limit' if hard == resource.RLIM_INFINITY else hard} for a process; a worker wants {wanted} at most")


def _server() -> Check:
    try:
        return ok("embedded store", str(embedded_store.find_server()))
    except embedded_store.NoServerError as error:
        finding, _, advice = str(error).partition("; ")
        return fail("embedded store", finding, advice)
