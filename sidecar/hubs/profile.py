"""What a hub profile may say: which paths go to the hub, how their use is metered, which headers pass.

A profile is data (YAML), read into these classes; an operator can write one. Default is deny: a path
that no route names is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sidecar.hubs.usage.dialects import UsageDialect


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A level of a profile file."""


class Route(Part, frozen=True):
    """Paths of the hub that are treated alike. Routes may share a name: then they count as one.

    A path is exact, or has `*` for one whole segment, or ends in `/**` for everything below. An exact
    path outranks a pattern; among patterns the first in the file wins.
    """

    name: Annotated[
        str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$(?!\n)", description="Label in metrics and logs, and a name for allowed_routes.")
    ]
    methods: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Methods that are forwarded, others get 405; HEAD goes where GET goes; "
            "`*` is GET, HEAD, POST, PUT, PATCH and DELETE.",
        ),
    ]
    path: Annotated[str, Meta(description="Path as the client sends it, without the hub's mount prefix.")]
    aliases: Annotated[tuple[str, ...], Meta(description="Further paths of this route.")] = ()
    group: Annotated[
        str,
        Meta(pattern=r"^([a-z0-9][a-z0-9_.-]{0,63})?$(?!\n)", description="Further name for allowed_routes, shared by routes of a kind."),
    ] = ""
    rewrite: Annotated[str, Meta(description="Path sent to the hub instead; ends in `/**` when the route's path does.")] = ""
    model: Annotated[
        tuple[str, ...],
        Meta(
            description="Every place that can choose the model: json:a.b, form:name, query:name, "
            "path:N (N-th segment from 0), path:N+ (that segment and all behind it). The first one must name it, or one of its "
            "alternatives (json:a|json:b); all others only add to it."
        ),
    ] = ()
    model_optional: Annotated[bool, Meta(description="Whether a request that names no model uses none.")] = False
    usage: Annotated[UsageDialect, Meta(description="Dialect that the answer's usage is read in; none: the hub says nothing.")] = "none"
    public: Annotated[bool, Meta(description="Served without a key.")] = False
    answer: Annotated[Literal["", "blocklet"], Meta(description="Answered by the sidecar itself instead of the hub.")] = ""
    opt_in: Annotated[bool, Meta(description="Only for keys whose allowed_routes names it.")] = False
    identity: Annotated[bool, Meta(description="Whether headers of `inject` that name the key or the client are sent on this route.")] = (
        True
    )
    websocket: Annotated[bool, Meta(description="Whether a WebSocket upgrade is passed on.")] = False

    @property
    def paths(self) -> tuple[str, ...]:
        """`path` and its aliases."""
        return (self.path, *self.aliases)


class ClientGone(Part, frozen=True):
    """What happens to the hub's answer when the client leaves."""

    action: Annotated[Literal["drain", "close"], Meta(description="drain reads on for the usage; close ends the hub's work.")] = "close"
    seconds: Annotated[float, Meta(ge=0, description="Longest drain.")] = 30.0
    bytes: Annotated[int, Meta(ge=0, description="Largest drain.")] = 1 << 20
    concurrent: Annotated[int, Meta(ge=0, description="Drains at a time in each worker; beyond it the answer is closed.")] = 256


class Headers(Part, frozen=True):
    """Which request headers reach the hub. What `sidecar.hubs.protected` lists never does."""

    allow: Annotated[
        tuple[str, ...] | None, Meta(description="Only these pass, and Via; null: all but the protected ones. `x-foo-*` names a family.")
    ] = None
    protect: Annotated[
        tuple[str, ...],
        Meta(description="Dropped when a client sends them, beside those that all profiles drop; `x-foo-*` is a family."),
    ] = ()
    inject: Annotated[
        dict[str, str],
        Meta(
            description="Set on every forwarded request: {key_id}, {request_id}, {access_key}, {client}, {scheme}, {host}. "
            "Left out where {access_key} is named and none is configured."
        ),
    ] = {}
    cookies: Annotated[bool, Meta(description="Whether cookies pass, both ways.")] = False


class Ledger(Part, frozen=True):
    """Where the hub lists the calls of one key, for reconciliation."""

    form: Annotated[Literal["", "aigne"], Meta(description="How the list is worded; empty: the hub has none.")] = ""
    path: Annotated[str, Meta(description="Path of the list, without the hub's mount prefix.")] = ""
    parameter: Annotated[str, Meta(description="Query parameter that names the key.")] = ""
    key: Annotated[str, Meta(description="How the hub names a key; holds {key_id}.")] = "{key_id}"


class Profile(Part, frozen=True):
    """A hub."""

    name: Annotated[str, Meta(min_length=1, description="Shown in status and logs.")]
    routes: Annotated[tuple[Route, ...], Meta(min_length=1, description="What is forwarded; nothing else is.")]
    headers: Headers = Headers()
    credential_parameters: Annotated[
        tuple[str, ...], Meta(description="Query parameters that are credentials to the hub; removed before forwarding.")
    ] = ()
    credential_protocols: Annotated[
        tuple[str, ...],
        Meta(description="How WebSocket subprotocols begin that are credentials to the hub or choose who pays; removed before forwarding."),
    ] = ()
    model_prefix: Annotated[str, Meta(description="Prefix that is cut off a model name in place, before forwarding.")] = ""
    identity_encoding: Annotated[bool, Meta(description="Ask the hub for uncompressed answers.")] = False
    client_gone: ClientGone = ClientGone()
    ledger: Ledger = Ledger()
