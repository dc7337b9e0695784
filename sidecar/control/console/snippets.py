"""First calls with a key, ready to paste. Pure but for one look at the profile's file."""

from __future__ import annotations

import json
import shlex

from sidecar.hubs.protocol import Protocol, protocol_named
from sidecar.settings import Settings

PLACEHOLDER = "<your API key>"

_CALLS: dict[Protocol, tuple[str, dict[str, object]]] = {
    "aigne": (
        "/api/v2/chat",
        {"input": {"messages": [{"role": "user", "content": "Hello!"}], "modelOptions": {"model": "openai/gpt-5-mini"}}},
    ),
    "openai": ("/v1/chat/completions", {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello!"}]}),
}
_AIGNE_NODE = """\
import {{ AIGNEHubChatModel }} from "@aigne/aigne-hub";

const model = new AIGNEHubChatModel({{
  baseURL: "{base}",
  apiKey: process.env.SIDECAR_API_KEY,
  model: "aignehub/openai/gpt-5-mini",
}});

const answer = await model.invoke({{ messages: [{{ role: "user", content: "Hello!" }}] }});
console.log(answer.text);
"""
_OPENAI_NODE = """\
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{base}/v1", apiKey: process.env.SIDECAR_API_KEY }});

const answer = await client.chat.completions.create({{
  model: "gpt-5-mini",
  messages: [{{ role: "user", content: "Hello!" }}],
}});
console.log(answer.choices[0].message.content);
"""
_FETCH_NODE = """\
const answer = await fetch("{base}/", {{
  headers: {{ Authorization: `Bearer ${{process.env.SIDECAR_API_KEY}}` }},
}});
console.log(answer.status, await answer.text());
"""


class FirstCalls:
    """First calls for a reader who has the console open under the Host header `console_host`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._protocol = protocol_named(settings.hub.profile)

    def curl(self, console_host: str, key: str) -> str:
        """One call for a shell."""
        return curl(self._protocol, proxy_address(self._settings, console_host), key)

    def node(self, console_host: str) -> str:
        """The same as a program."""
        return node(self._protocol, proxy_address(self._settings, console_host))


def proxy_address(settings: Settings, console_host: str) -> str:
    """How somebody who reads the console under the Host header `console_host` reaches the data plane."""
    listen = settings.proxy.listen
    if listen.path:
        return "http://localhost"
    # A proxy that listens everywhere is reached under the name that led here.
    here = console_host.partition("]")[0].lstrip("[") if console_host.startswith("[") else console_host.partition(":")[0]
    host = here if listen.host in ("0.0.0.0", "::", "*", "") else listen.host  # noqa: S104
    scheme = "http" if settings.proxy.tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listen.port}"


def curl(protocol: Protocol, base: str, key: str) -> str:
    """One call for a shell."""
    authorization = f"Authorization: Bearer {key}"
    if protocol not in _CALLS:
        return f'curl {base}/ -H "{authorization}"'
    path, body = _CALLS[protocol]
    content = shlex.quote(json.dumps(body))
    return f'curl {base}{path} \\\n  -H "{authorization}" \\\n  -H "Content-Type: application/json" \\\n  -d {content}'


def node(protocol: Protocol, base: str) -> str:
    """The same as a program; it reads the key from its environment, for a key in a source file does not stay secret."""
    return {"aigne": _AIGNE_NODE, "openai": _OPENAI_NODE}.get(protocol, _FETCH_NODE).format(base=base)
