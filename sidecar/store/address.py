"""Reads `store.url`: standalone, unix socket, TLS, Sentinel, Cluster. Pure.

`connecting` makes connections of it. Whoever only checks the settings, and whoever only starts others, imports no client.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from sidecar.settings import declaration
from sidecar.store.embedded import embedded_socket

Kind = Literal["single", "sentinel", "cluster"]

CONNECT_TIMEOUT = 1.0
"""Seconds to connect to a server."""
SENTINEL_TIMEOUT = 0.3
"""Seconds to connect to one sentinel, and in which it must answer."""

_TLS_FILES = {"ca_file": "ssl_ca_certs", "certificate_file": "ssl_certfile", "key_file": "ssl_keyfile"}
_ENCODED = "in a password write %2F %3F %23 %40 for / ? # @, or give it as store.password"
_OF_SENTINELS = {"sentinel_password", "sentinel_tls"}
_QUERY = {"db", "tls", *_OF_SENTINELS, *_TLS_FILES}


@dataclass(frozen=True)
class Address:
    """Where the store is. `hosts` are sentinels or cluster nodes; `options` are redis-py connection arguments.

    With a `path` they lead to a unix socket; `ssl` is there where TLS is to be spoken.
    """

    kind: Kind
    options: dict[str, Any] = field(repr=False)
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def fails_over(self) -> bool:
        """Whether another server may take over, so that an old one can still answer without being the store."""
        return self.kind != "single"

    @property
    def patience(self) -> float:
        """Seconds within which connecting should succeed: with Sentinel all but the last may be dead."""
        return CONNECT_TIMEOUT + SENTINEL_TIMEOUT * (len(self.hosts) if self.kind == "sentinel" else 0)

    @property
    def place(self) -> str:
        """Where to look when it does not answer, for people; holds no credential."""
        hosts = self.hosts or (() if "path" in self.options else ((self.options["host"], self.options["port"]),))
        return ", ".join(f"{host}:{port}" for host, port in hosts) or str(self.options["path"])

    @property
    def tls_files(self) -> dict[str, str]:
        """The files of its TLS by their names in `store.url`: `ca_file`, `certificate_file`, `key_file`."""
        return {name: self.options[option] for name, option in _TLS_FILES.items() if option in self.options}


def resolve(settings: declaration.Store, data_dir: Path) -> Address:
    """Read `store.url` and `store.password`; raises ValueError with what to write instead."""
    url = settings.url.reveal()
    if url == "embedded":
        options: dict[str, Any] = {"path": str(embedded_socket(data_dir))}
    else:
        parts = urlsplit(url)
        _refuse_cut(parts)
        query = _query(parts)
        credentials, _, hosts = parts.netloc.rpartition("@")
        options = _credentials(credentials)
        if parts.scheme in ("redis+sentinel", "redis+cluster"):
            return _several(parts, hosts, query, {**options, **_password(settings)})
        options.update(_single(parts, hosts, query))
    return Address("single", {**options, **_password(settings)})


def _refuse_cut(parts: SplitResult) -> None:
    """A password with one of these in it ends too early: what is left of it must be taken for nothing else, and be shown nowhere."""
    # What stands in the query may hold an @ itself: a password of sentinels, a path such as /run/credentials/sidecar@a.service/ca.
    foreign = [pair for pair in parts.query.split("&") if pair.partition("=")[0] not in _QUERY]
    if parts.fragment or (parts.scheme != "unix" and "@" in "".join([parts.path, *foreign])):
        raise ValueError(f"store.url is cut in two by a / ? or #; {_ENCODED}")


def _single(parts: SplitResult, hosts: str, query: dict[str, str]) -> dict[str, Any]:
    tls = parts.scheme == "rediss"
    if _is_true(query, "tls") and not tls:
        raise ValueError("store.url says tls=true, which only redis+sentinel:// and redis+cluster:// have; write rediss://host:port")
    _refuse_idle_files(query, tls, "write rediss://host:port")
    if parts.scheme == "unix":
        # With two slashes the first directory would be taken for a host, and another socket be called.
        if hosts or not parts.path.startswith("/"):
            raise ValueError(f"store.url needs an absolute path: unix:///path or unix://user:password@/path; {_ENCODED}")
        return {"path": unquote(parts.path), **_db(query.get("db", ""))}
    host, port = _host(hosts, 6379)
    options = {"host": host, "port": port, **_db(query.get("db", "") or parts.path.strip("/"))}
    if tls:
        options.update({"ssl": True, **_tls_files(query)})
    return options


def _several(parts: SplitResult, hosts: str, query: dict[str, str], options: dict[str, Any]) -> Address:
    kind: Kind = "sentinel" if parts.scheme == "redis+sentinel" else "cluster"
    addresses = tuple(_host(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",") if host)
    if not addresses:
        raise ValueError(f"store.url names no host; write redis+{kind}://host:port,host:port")
    tls = _is_true(query, "tls")
    _refuse_idle_files(query, tls, "add tls=true")
    secured = {"ssl": True, **_tls_files(query)} if tls else {}
    options = {**options, **secured}
    if kind == "cluster":
        if parts.path.strip("/") or "db" in query:
            raise ValueError("store.url names a database, and a cluster has but one; leave it out")
        return Address(kind, options, addresses)
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("store.url names no service; write redis+sentinel://host:port,host:port/service")
    if not tls and _is_true(query, "sentinel_tls"):
        raise ValueError("store.url says sentinel_tls=true without tls=true; add that")
    password = query.get("sentinel_password", "")
    # Whoever can answer for a sentinel names the primary: it is trusted no less than the primary itself.
    asked = {**(secured if _is_true(query, "sentinel_tls", otherwise=tls) else {}), **({"password": password} if password else {})}
    return Address(kind, {**options, **_db(db or query.get("db", ""))}, addresses, service, asked)


def _query(parts: SplitResult) -> dict[str, str]:
    # As the password before the host is read, and not as a form is: there a + would be a blank.
    pairs = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in parts.query.split("&") if pair)}
    unknown = sorted(set(pairs) - _QUERY)
    if unknown:
        # Behind the sentinels' password it may be the rest of that.
        shown = f"?{unknown[0]}=" if "sentinel_password" not in pairs else "what follows an & in its query"
        raise ValueError(f"store.url does not know {shown}; it knows {', '.join(sorted(_QUERY))}; in a password write %26 for &")
    query = {name: value for name, value in pairs.items() if value}
    idle = sorted(_OF_SENTINELS & query.keys())
    if idle and parts.scheme != "redis+sentinel":
        raise ValueError(f"store.url has ?{idle[0]}=, which only redis+sentinel:// has; leave it out")
    return query


def _is_true(query: dict[str, str], name: str, *, otherwise: bool = False) -> bool:
    # Anything else would mean clear text, and nobody would be told.
    value = query.get(name)
    if value not in (None, "true", "false"):
        raise ValueError(f"store.url has a ?{name}= that is neither true nor false")
    return otherwise if value is None else value == "true"


def _refuse_idle_files(query: dict[str, str], tls: bool, advice: str) -> None:
    idle = sorted(_TLS_FILES.keys() & query.keys())
    if idle and not tls:
        raise ValueError(f"store.url has ?{idle[0]}= but speaks in clear text; {advice}")


def _credentials(text: str) -> dict[str, Any]:
    user, _, password = text.partition(":")
    return {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}


def _password(settings: declaration.Store) -> dict[str, Any]:
    password = settings.password.reveal()
    return {"password": password} if password else {}


def _db(text: str) -> dict[str, Any]:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError("store.url ends in what is no database; a database is a number")
    return {"db": int(text)} if text else {}


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "127.0.0.1", parts.port or default_port
    except ValueError:
        # The library quotes what it does not understand, and that may be half a password.
        raise ValueError(f"store.url has a port that is no number up to 65535; {_ENCODED}") from None


def _tls_files(query: dict[str, str]) -> dict[str, Any]:
    return {option: query[name] for name, option in _TLS_FILES.items() if name in query}
