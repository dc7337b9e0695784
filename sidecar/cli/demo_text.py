"""What the demo says: where everything is, and one line to paste. Pure."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from sidecar.hubs.protocol import Protocol, protocol_named
from sidecar.settings import Settings
from sidecar.settings.values import Listen

_CALLS: dict[Protocol, tuple[str, dict[str, object]]] = {
    # The line of the hub's own documentation, path and model prefix included.
    "aigne": (
        "/api/v1/chat/completions",
        {"model": "aignehub/gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello, world!"}]},
    ),
    "openai": (
        "/v1/chat/completions",
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello, world!"}]},
    ),
}


_HINTS = {
    # Whoever pastes the line and looks for its tokens would else take the zeros for a fault of the sidecar.
    "aigne": "This hub reports the usage of such a call only in event streams: add -H 'Accept: text/event-stream' to see it.\n\n",
}


def banner(settings: Settings, key: str, command: str) -> str:
    """The whole text, every command of which works when pasted; `command` is how a shell starts this program."""
    data_dir = Path(settings.data_dir)
    admin = web_address(settings.admin.listen)
    facts = {
        "Console": f"{admin}/",
        "Admin token": f"{data_dir / 'admin-token'}",
        "Metrics": f"{web_address(settings.metrics.listen)}/metrics",
        "Hub": str(settings.hub.url),
        "API key": f"{key}   (made for this demo, shown once)",
    }
    rows = "\n".join(f"  {name:<13}{value}" for name, value in facts.items())
    return (
        f"\nThe sidecar runs. Sign in to the console with the admin token.\n\n{rows}\n\n"
        f"Call the hub with the key:\n\n{curl(settings, key)}\n\n{_HINTS.get(settings.hub.profile, '')}"
        "The command line, in another terminal:\n\n"
        f"  export SIDECAR_PROXY_URL={web_address(settings.proxy.listen)} SIDECAR_ADMIN_URL={admin} "
        f"SIDECAR_DATA_DIR={shlex.quote(str(data_dir))}\n"
        f"  {command} keys list\n\nCtrl-C ends everything.\n"
    )


def curl(settings: Settings, key: str) -> str:
    """One command line; options can be appended to it."""
    return call(web_address(settings.proxy.listen), settings.hub.profile, key)


def call(base: str, profile: str, key: str) -> str:
    """The same for a data plane at `base`."""
    authorization = f"-H 'Authorization: Bearer {key}'"
    protocol = protocol_named(profile)
    if not protocol:
        return f"curl -sS {shlex.quote(base + '/')} {authorization}"
    path, body = _CALLS[protocol]
    return f"curl -sS {shlex.quote(base + path)} {authorization} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"


def web_address(listen: Listen, scheme: str = "http") -> str:
    """How a client on this machine reaches `listen`."""
    host = "127.0.0.1" if listen.host in ("0.0.0.0", "::", "*", "") else listen.host  # noqa: S104
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listen.port}"
