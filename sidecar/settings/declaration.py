"""Every setting, once: its name, type, default, and the text that the reference prints.

The loader, the environment variables, `sidecar config schema`, the configuration reference
and the commented example are all read off these classes.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sidecar.settings.values import Duration, HubUrl, Listen, Secret, Size, StoreUrl, WebhookUrl

# In a pattern `$` alone also matches before a line feed at the end, such as the one that a block of YAML ends in; hence `$(?!\n)`.
Enforcement = Literal["off", "shadow", "enforce"]
OnAnomaly = Literal["observe", "notify", "throttle", "disable"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A level of the configuration file."""


class Tls(Section, frozen=True):
    """Certificate of a listener."""

    certificate_file: Annotated[str, Meta(description="PEM file with the certificate and its chain.")]
    key_file: Annotated[str, Meta(description="PEM file with the private key.")]


class Hub(Section, frozen=True):
    """The hub behind the sidecar."""

    url: Annotated[HubUrl, Meta(description="http://, https:// or unix:///path; its path is the hub's mount prefix.")] = HubUrl.parse(
        "http://127.0.0.1:3000/"
    )
    profile: Annotated[str, Meta(description="A built-in profile (aigne, openai, generic, …) or the path of a profile file.")] = "aigne"
    access_key: Annotated[Secret, Meta(description="What the hub itself accepts; injected as Authorization: Bearer.")] = Secret("")
    host: Annotated[str, Meta(description="Host header sent to the hub; empty: the host of hub.url.")] = ""
    ca_file: Annotated[str, Meta(description="PEM file of authorities for an https:// hub; empty: the system's.")] = ""
    max_connections: Annotated[
        int, Meta(ge=1, description="Open connections to the hub for each worker; each request under way holds one.")
    ] = 4096
    idle_connection_age: Annotated[Duration, Meta(description="How long an unused hub connection is kept.")] = Duration(4)


class Timeouts(Section, frozen=True):
    """Deadlines of the data plane."""

    header: Annotated[
        Duration,
        Meta(description="From a request's first byte to the end of its headers; over TLS, of the first one, from the handshake on."),
    ] = Duration(10)
    keep_alive: Annotated[Duration, Meta(description="How long an idle client connection is kept.")] = Duration(75)
    body_idle: Annotated[Duration, Meta(description="Between two reads of a request body.")] = Duration(30)
    write_idle: Annotated[Duration, Meta(description="How long a client may go without reading an answer that is waiting for it.")] = (
        Duration(60)
    )
    hub_connect: Annotated[Duration, Meta(description="To open a connection to the hub.")] = Duration(3)
    hub_first_byte: Annotated[Duration, Meta(description="From the end of the request to the first byte of the hub's answer.")] = Duration(
        600
    )
    hub_idle: Annotated[
        Duration, Meta(description="Between two reads of the hub's answer; of a WebSocket, how long both sides may stay silent.")
    ] = Duration(300)


class Bounds(Section, frozen=True):
    """How large a request may be, and how many are served at a time."""

    target: Annotated[Size, Meta(description="Request target; beyond it 414.")] = Size(8 << 10)
    headers: Annotated[Size, Meta(description="All header lines together; beyond it 431.")] = Size(32 << 10)
    header_count: Annotated[int, Meta(ge=8, description="Number of header lines; beyond it 431.")] = 100
    body: Annotated[Size, Meta(description="Request body that is streamed; beyond it 413.")] = Size(1 << 30)
    inspected_body: Annotated[Size, Meta(description="Request body that must be read whole to check its model; beyond it 413.")] = Size(
        32 << 20
    )
    inspected_total: Annotated[
        Size,
        Meta(
            description="Memory for bodies that are read whole, for each worker; a key's may take at most twice as much as is still free; "
            "beyond that 503. No less than inspected_body."
        ),
    ] = Size(512 << 20)
    connections: Annotated[
        int, Meta(ge=1, description="Open client connections for each worker; beyond it the longest idle one makes room, else 503.")
    ] = 20000
    requests: Annotated[
        int,
        Meta(
            ge=1, description="Requests under way for each worker; a key may hold at most twice as many as are still free; beyond that 503."
        ),
    ] = 4096


class Proxy(Section, frozen=True):
    """The data plane."""

    listen: Annotated[Listen, Meta(description="host:port or unix:///path.")] = Listen.parse("0.0.0.0:8080")
    workers: Annotated[int | Literal["auto"], Meta(description="Number of worker processes; auto: one for each core.")] = 1
    trusted_proxies: Annotated[tuple[str, ...], Meta(description="Networks (CIDR) whose X-Forwarded-For is believed.")] = ()
    drain_timeout: Annotated[Duration, Meta(description="How long open requests may take after SIGTERM.")] = Duration(25)
    realm: Annotated[str, Meta(pattern=r"^[ !#-\[\]-~]+$(?!\n)", description="realm of WWW-Authenticate.")] = "aigne-hub"
    timeouts: Timeouts = Timeouts()
    bounds: Bounds = Bounds()
    tls: Annotated[Tls | None, Meta(description="Serve HTTPS.")] = None

    @property
    def worker_count(self) -> int:
        """`workers` as a number."""
        return len(os.sched_getaffinity(0)) if self.workers == "auto" else self.workers


class Authz(Section, frozen=True):
    """The authorizer: `sidecar authz` answers the questions of another proxy on `listen`, and nothing listens on proxy.listen."""

    listen: Annotated[Listen, Meta(description="host:port or unix:///path; only the proxy may reach it.")] = Listen.parse("127.0.0.1:9191")


class Admin(Section, frozen=True):
    """The console and the admin API."""

    listen: Annotated[Listen, Meta(description="host:port or unix:///path.")] = Listen.parse("127.0.0.1:8081")
    tls: Annotated[Tls | None, Meta(description="Serve HTTPS.")] = None
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="Host names that the console answers to, beside the address it listens on and localhost.")
    ] = ()
    session_idle: Annotated[Duration, Meta(description="A console session ends after this time without a request.")] = Duration(1800)
    session_age: Annotated[Duration, Meta(description="A console session ends after this time in any case.")] = Duration(43200)


class Metrics(Section, frozen=True):
    """The metrics and health listener."""

    listen: Annotated[Listen, Meta(description="host:port or unix:///path.")] = Listen.parse("127.0.0.1:9464")
    max_keys: Annotated[int, Meta(ge=1, description="Keys with series of their own; the rest add up under _overflow.")] = 2000
    key_info: Annotated[bool, Meta(description="Export sidecar_key_info, the only series with names and owners.")] = True


class Store(Section, frozen=True):
    """The key store."""

    url: Annotated[StoreUrl, Meta(description="embedded, redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://.")] = StoreUrl(
        "embedded"
    )
    password: Annotated[Secret, Meta(description="Password of the store, when it is not part of the URL.")] = Secret("")
    on_unavailable: Annotated[
        Literal["refuse", "serve_cached"],
        Meta(
            description="What happens to cached keys while the store cannot be asked; serve_cached serves those without limits and quota."
        ),
    ] = "refuse"
    max_stale: Annotated[Duration, Meta(description="How old an answer serve_cached may give; the revocation bound widens to this.")] = (
        Duration(300)
    )


class Keys(Section, frozen=True):
    """Form and storage of API keys."""

    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9]{1,15}$(?!\n)",
            description="First part of every key; those that were made with another one are refused.",
        ),
    ] = "ahk"
    pepper_file: Annotated[
        str, Meta(description="Secret that digests are keyed with; made at the first start when absent. Left out: `pepper` in data_dir.")
    ] = "./data/pepper"
    previous_pepper_file: Annotated[str, Meta(description="The pepper before this one, while keys move over to the new one.")] = ""
    accept_imported: Annotated[bool, Meta(description="Tokens of foreign form are looked up too.")] = False
    cache_size: Annotated[int, Meta(ge=100, description="Verified keys that each worker remembers.")] = 100_000


class Spool(Section, frozen=True):
    """The event files between workers and control process."""

    max_bytes: Annotated[Size, Meta(description="Disk that events may take while the store cannot be written.")] = Size(4 << 30)
    segment_bytes: Annotated[Size, Meta(description="Size of one spool file.")] = Size(16 << 20)


class Calls(Section, frozen=True):
    """The call log."""

    max_age: Annotated[Duration, Meta(description="Calls older than this are dropped.")] = Duration(30 * 86400)
    max_count: Annotated[
        int,
        Meta(ge=1000, description="About this many calls are kept. Those without a key, which anybody can make, are a quarter at most."),
    ] = 200_000


class Usage(Section, frozen=True):
    """Stored usage series."""

    minutes: Annotated[Duration, Meta(description="How long minute series are kept.")] = Duration(14 * 86400)
    hours: Annotated[Duration, Meta(description="How long hour series are kept; no less than those of minutes.")] = Duration(400 * 86400)


class Reconcile(Section, frozen=True):
    """Asking the hub's own ledger for use that its answers did not say."""

    enabled: Annotated[
        bool, Meta(description="Ask the ledger of a profile that has one. The only traffic to the hub that is the sidecar's own.")
    ] = False
    every: Annotated[Duration, Meta(description="Between two questions.")] = Duration(30)
    give_up: Annotated[Duration, Meta(description="How long the ledger may take to show a call.")] = Duration(900)


class Log(Section, frozen=True):
    """What is written to standard output and error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Lowest level of log lines.")] = "info"
    access: Annotated[bool, Meta(description="One JSON line for each request on standard output.")] = False
    access_sample: Annotated[float, Meta(ge=0, le=1, description="Share of successful requests that are logged.")] = 1.0
    client_address: Annotated[
        Literal["full", "network", "hash"], Meta(description="How client addresses are kept: whole, as /24 or /48, or as a salted hash.")
    ] = "full"


class Anomaly(Section, frozen=True):
    """Detection of stolen keys."""

    enabled: Annotated[bool, Meta(description="Watch every key's use for what is unusual.")] = True
    on_anomaly: Annotated[
        OnAnomaly,
        Meta(description="What a page does, for keys without an on_anomaly of their own: observe only shows it, the others also notify."),
    ] = "observe"
    shadow: Annotated[
        bool, Meta(description="Whether the throttle or disable above is only recorded; a key's own on_anomaly always takes effect.")
    ] = True
    throttle_for: Annotated[Duration, Meta(description="How long throttle refuses a key.")] = Duration(3600)
    dormant_after: Annotated[Duration, Meta(description="A key that was silent for longer is dormant.")] = Duration(14 * 86400)
    known_networks: Annotated[
        tuple[str, ...], Meta(description="Networks (CIDR) that are never new: offices, NAT and egress that keys share.")
    ] = ()
    geo_file: Annotated[
        str, Meta(description="MaxMind file (needs the extra `geo`): networks are then told apart by autonomous system or country.")
    ] = ""
    keep: Annotated[Duration, Meta(description="How long closed anomalies are kept.")] = Duration(90 * 86400)


class Notifications(Section, frozen=True):
    """Who is told of anomalies."""

    webhooks: Annotated[
        tuple[WebhookUrl, ...], Meta(description="URLs that notifications are posted to, signed as Standard Webhooks says.")
    ] = ()
    webhook_secret: Annotated[
        Secret, Meta(description="Signing secret, whsec_ and base64. Left out: `webhook-secret` in data_dir, made at the first start.")
    ] = Secret("")
    level: Annotated[Literal["warn", "page"], Meta(description="Lowest level that is reported.")] = "page"


class Settings(Section, frozen=True):
    """The whole configuration."""

    hub: Hub = Hub()
    proxy: Proxy = Proxy()
    authz: Authz = Authz()
    admin: Admin = Admin()
    metrics: Metrics = Metrics()
    store: Store = Store()
    keys: Keys = Keys()
    spool: Spool = Spool()
    calls: Calls = Calls()
    usage: Usage = Usage()
    reconcile: Reconcile = Reconcile()
    anomaly: Anomaly = Anomaly()
    notifications: Notifications = Notifications()
    log: Log = Log()
    enforcement: Annotated[Enforcement, Meta(description="off: let all through; shadow: count what would be refused; enforce.")] = "enforce"
    data_dir: Annotated[str, Meta(description="Embedded store, spool, pepper, admin token; must be writable and private.")] = "./data"
