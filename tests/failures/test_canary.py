"""A secret that is sent in every place is found in no place afterwards: no log, metric, spool, store file or answer."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.support.raw_hub import raw_hub_process
from tests.support.sidecar import Sidecar, call, wait_until

HUB_KEY = "blocklet-z8iaHubAccessKeyCanary4711xYzAbCdEf"


def send(sidecar: Sidecar, raw: bytes) -> bytes:
    """All that comes back for `raw`."""
    host, port = sidecar.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(raw)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(65_536):
                received += data
        return received


def places(key: str) -> list[bytes]:
    """Requests that carry `key` where it belongs, and where it does not."""
    bearer = f"Authorization: Bearer {key}\r\n"
    end = "Host: a\r\nConnection: close\r\n\r\n"
    texts = [
        f"GET /v1/x HTTP/1.1\r\n{bearer}{end}",
        f"GET /v1/{key} HTTP/1.1\r\n{bearer}{end}",
        f"GET /v1/x?access_token={key} HTTP/1.1\r\n{bearer}{end}",
        f"GET /v1/x?api_key={key} HTTP/1.1\r\n{bearer}{end}",
        f"GET /v1/{key} HTTP/1.1\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\nUser-Agent: curl {key}\r\n{bearer}{end}",
        f"GET /v1/x HTTP/1.1\r\nUser-Agent: {key}\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\nX-Api-Key: {key}\r\nCookie: k={key}\r\nReferer: http://a/{key}\r\nOrigin: {key}\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\nX-Request-Id: {key}\r\nTraceparent: {key}\r\nVia: {key}\r\n{bearer}{end}",
        f"GET /v1/x HTTP/1.1\r\nX-Forwarded-For: {key}\r\n{bearer}{end}",
        f"GET /v1/x HTTP/1.1\r\nAuthorization: Basic {key}\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\nAuthorization: Bearer {key} {key}\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\nAuthorization: Bearer {key}\x01\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\n{bearer}{bearer}{end}",
        f"GET /v1/{key} HTTP/9.9\r\n{end}",
        f"{key} /v1 HTTP/1.1\r\n{end}",
        f"GET http://{key}/v1 HTTP/1.1\r\n{bearer}{end}",
        f"GET /v1/x HTTP/1.1\r\n{key}\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\nHost: {key}\r\n{bearer}Connection: close\r\n\r\n",
        f"OPTIONS /v1/{key} HTTP/1.1\r\n{end}",
        f"CONNECT {key}:443 HTTP/1.1\r\n{end}",
        f'POST /v1/chat/completions HTTP/1.1\r\n{bearer}Content-Length: {len(key) + 12}\r\n{end}{{"model":"{key}"}}',
        f"POST /v1/x HTTP/1.1\r\n{bearer}Transfer-Encoding: chunked\r\n{end}{key}\r\n\r\n",
        f"POST /v1/x HTTP/1.1\r\n{bearer}Content-Length: {key}\r\n{end}",
        f"GET /v1/x HTTP/1.1\r\nX-A: {'a' * 40_000}{key}\r\n{bearer}{end}",
        f"GET /v1/cut HTTP/1.1\r\n{bearer}{end}",
        f"GET /v1/garbage HTTP/1.1\r\n{bearer}{end}",
    ]
    return [text.encode() for text in texts]


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("profile", ["openai", "generic"])
def test_no_secret_is_left_behind(tmp_path: Path, profile: str) -> None:
    settings = {"hub__profile": profile, "log__access": "true", "log__level": "debug"}
    with raw_hub_process(tmp_path) as hub, Sidecar(tmp_path, hub.url, HUB_KEY, **settings) as sidecar:
        key_id, live = sidecar.create_key(limits={"rpm": 10_000})
        dead_id, dead = sidecar.create_key()
        assert sidecar.admin("POST", f"/keys/{dead_id}/revoke").status == 200
        unknown = live[:-10] + "0000000000"
        admin = sidecar.admin_token
        answers = [send(sidecar, raw) for key in (live, dead, unknown, admin, HUB_KEY) for raw in places(key)]
        answers += [
            call("POST", f"{sidecar.admin_url}/admin/v1/{secret}", {secret: secret}, {"Authorization": f"Bearer {secret}"}).body
            for secret in (live, HUB_KEY)
        ]
        answers += [sidecar.admin("POST", "/keys", {"name": "x", "nonsense": live}).body, sidecar.admin("GET", f"/keys/{live}").body]

        def told() -> int:
            return len(sidecar.admin("GET", "/requests?limit=1000").json["data"])

        wait_until(lambda: told() > 50, within=30, what="the call log")
        seen = {f"answer {number}": answer for number, answer in enumerate(answers)}
        seen |= {
            path: sidecar.admin("GET", path).body
            for path in (
                "/requests?limit=1000",
                "/keys",
                f"/keys/{key_id}",
                "/audit-events",
                "/status",
                "/usage?group_by=model",
                "/anomalies",
            )
        }
        seen["/metrics"] = call("GET", f"{sidecar.metrics_url}/metrics").body
        sidecar.stop()
        seen |= files(sidecar.data_dir)
        seen["log"] = sidecar.log.read_bytes()
        own = {"admin-token"}
        for name, secret in {
            "live key": live,
            "revoked key": dead,
            "unknown key": unknown,
            "admin token": admin,
            "hub's key": HUB_KEY,
        }.items():
            found = sorted(place for place, data in seen.items() if place not in own and secret.encode() in data)
            assert found == [], f"the {name} was found in {found}"
