"""The scalar kinds that a setting may have beside text, numbers and flags.

Each kind parses one YAML scalar and refuses with a sentence that says what to write instead.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self
from urllib.parse import SplitResult, urlsplit

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)?")
_BYTES = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MOUNT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_TWO_MEANINGS = re.compile(r"//|/\.\.?(?:;[^/]*)?/|%00|%5c")
"""In a path with its escapes of dots and slashes decoded: empty and dot segments, NUL and backslash."""

_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f.]*:[0-9a-f:.]+(?:%[a-z0-9._-]+)?", re.IGNORECASE)
"""A name, or an address of IPv6 with its zone."""

_LONGEST = 36_500 * _SECONDS["d"]


def within_64_bits(number: int) -> int:
    """`number`, if it finds its way to the processes that use it; raises ValueError."""
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("is too large a number")
    return number


def read_network(text: str) -> IPv4Network | IPv6Network:
    """The network of CIDR `text`, or of the one address that it is; its host bits do not matter. Raises ValueError.

    One of IPv4 that is dressed as IPv6, as a socket of both protocols tells addresses, is one of IPv4.
    """
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
        return IPv4Network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network


class Duration(float):
    """Seconds, written as a number and a unit: `250ms`, `30s`, `5m`, `24h`, `7d`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text`; raises ValueError with what to write instead."""
        match = _DURATION.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a duration; write a number and a unit (250ms, 30s, 5m, 24h, 7d)")
        number = float(match[1])
        # Divided, because 13 * 0.001 is not 0.013.
        seconds = number / 1000 if match[2] == "ms" else number * _SECONDS[match[2]]
        if seconds > _LONGEST:
            raise ValueError(f"is longer than {_LONGEST / _SECONDS['d']:.0f}d, which no clock here can wait for")
        return cls(seconds)

    def __str__(self) -> str:
        """The shortest exact form: the largest unit that leaves a whole number."""
        for unit in ("d", "h", "m", "s"):
            count = float(self) / _SECONDS[unit]
            if count >= 1 and count == int(count):
                return f"{int(count)}{unit}"
        return f"{round(float(self) * 1000)}ms"


class Size(int):
    """Bytes, written as a number and an optional unit: `64KiB`, `32MiB`, `1GiB`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text`; raises ValueError with what to write instead."""
        match = _SIZE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a size; write a number and a unit (64KiB, 32MiB, 1GiB)")
        return cls(within_64_bits(int(match[1]) * _BYTES[match[2]]))

    def __str__(self) -> str:
        """The largest unit that leaves a whole number."""
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _BYTES[unit] == 0:
                return f"{self // _BYTES[unit]}{unit}"
        return f"{int(self)}B"


class Listen(str):
    """Where to listen: `host:port`, `[v6]:port` or `unix:///path`."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text`; raises ValueError with what to write instead."""
        listen = cls(text)
        listen.host, listen.port, listen.path = "", 0, ""
        if text.startswith("unix://"):
            listen.path = text.removeprefix("unix://")
            if not listen.path.startswith("/"):
                raise ValueError(f"{text!r} needs an absolute path: unix:///path")
            if not _is_path(listen.path):
                raise ValueError(f"{text!r} has a character that no path can have")
            return listen
        host, _, port = text.rpartition(":")
        if not host or not _PORT.fullmatch(port) or int(port) > 65535:
            raise ValueError(f"{text!r} is not an address to listen on; write host:port or unix:///path")
        listen.host, listen.port = host.strip("[]"), int(port)
        if not _is_host(listen.host):
            raise ValueError(f"{text!r} names no host; write host:port, where host is an address (0.0.0.0: all of them) or a name")
        return listen


class Secret(str):
    """Text that must never be printed: `str()` and `repr()` mask it, `reveal()` gives it out."""

    __slots__ = ()

    def reveal(self) -> str:
        """The secret itself."""
        return str.__str__(self)

    def __str__(self) -> str:
        """A mask: a secret that slips into a message stays secret."""
        return "********" if len(self) else ""

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(self.__str__(), spec)


class StoreUrl(Secret):
    """Where the key store is; masked because it may hold a password."""

    SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text`; raises ValueError with what to write instead."""
        if text != "embedded" and _scheme(text) not in cls.SCHEMES:
            raise ValueError("the store is `embedded` or a URL that starts with " + ", ".join(f"{s}://" for s in cls.SCHEMES))
        return cls(text)


class WebhookUrl(Secret):
    """Where notifications are posted to; masked because many receivers let in whoever knows their path."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text`; raises ValueError with what to write instead."""
        if _scheme(text) not in ("http", "https") or not urlsplit(text).hostname:
            raise ValueError("a webhook is a URL that starts with http:// or https://")
        if not _has_port(urlsplit(text)):
            raise ValueError("the port of a webhook is a number from 1 to 65535")
        return cls(text)


class HubUrl(str):
    """The hub's address: http://, https:// or unix:///path; its path is the hub's mount prefix."""

    scheme: str
    host: str
    port: int
    mount: str
    socket: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text`; raises ValueError with what to write instead."""
        url = cls(text)
        parts = urlsplit(text)
        url.scheme, url.host, url.port, url.mount, url.socket = parts.scheme, "", 0, "", ""
        if "@" in parts.netloc:
            raise ValueError("a hub address has no user and password; give hub.access_key instead")
        if parts.scheme == "unix" and parts.path:
            # With two slashes the first directory would be taken for a host, and another socket be called.
            if parts.netloc or parts.query or parts.fragment or not parts.path.startswith("/"):
                raise ValueError(f"{text!r} is not a socket; write its absolute path and nothing else: unix:///path")
            url.socket = parts.path
            return url
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or not _has_port(parts):
            shown = repr(text) if "@" not in text else "this"
            raise ValueError(f"{shown} is not a hub address; write http://host:port/, https://host/ or unix:///path")
        url.host = _as_dns(parts.hostname)
        url.port = parts.port or (443 if parts.scheme == "https" else 80)
        url.mount = parts.path.rstrip("/")
        if not _is_mount(url.mount):
            raise ValueError(f"the path of {text!r} must be percent-encoded and have no empty or dot segments")
        return url


def _scheme(text: str) -> str:
    """The scheme of a URL; empty when it is none, for the library would quote the password that it does not understand."""
    try:
        return urlsplit(text).scheme
    except ValueError:
        return ""


def _is_path(text: str) -> bool:
    """Whether the system can be asked for `text`. For what Python cannot hand over it raises no OSError, where one is looked for."""
    try:
        text.encode()
    except UnicodeError:
        return False
    return "\0" not in text


def _as_dns(host: str) -> str:
    """`host` in the letters that a resolver and a Host header take (IDNA); raises ValueError when nothing can be called so."""
    if not _is_host(host):
        raise ValueError(f"{host!r} is no host; write a name such as hub.example, or an IP address")
    return host.encode("idna").decode()


def _is_host(host: str) -> bool:
    """Whether anything can be called so: no scheme, no path, no star."""
    try:
        return _HOST.fullmatch(host.encode("idna").decode()) is not None
    except UnicodeError:
        return False


def _is_mount(path: str) -> bool:
    """Whether `path` may stand before what clients ask for: it is held to what their own paths are (`worker/client/target.py`)."""
    decoded = path.lower().replace("%2e", ".").replace("%2f", "/")
    return _MOUNT.fullmatch(path) is not None and not _TWO_MEANINGS.search(decoded + "/")


def _has_port(parts: SplitResult) -> bool:
    """Whether the port of a URL is a port, or left out."""
    try:
        return parts.port != 0
    except ValueError:
        return False
