"""Marked secrets, sent to every place that takes bytes, are afterwards nowhere but where they must be.

Looked through are all logs, metrics, answers, everything in the store, the data directory, and the command
lines of all processes; for each secret as it is, in base64, and percent-encoded.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sidecar.keys.token import generate
from tests.support.embedded import opened
from tests.support.hub import hub_process
from tests.support.sidecar import Sidecar, call, wait_until

HUB_KEY = "blocklet-zCanaryOfTheHub7dGkQ2mWxYvB4nTs9"
SOON = 20.0


# Where a secret can be sent ---------------------------------------------------------------------


def raw(url: str, data: bytes) -> bytes:
    """What comes back for `data`, until the other side closes or is silent."""
    host, port = url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(data)
        connection.settimeout(2)
        try:
            while piece := connection.recv(65_536):
                received += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return received


def heads(secret: str, good: str, unlisted: str) -> dict[str, bytes]:
    """Whole requests with `secret` somewhere; `good` and `unlisted` are API keys that work, the latter with every model."""
    encoded = base64.b64encode(f"user:{secret}".encode()).decode()
    percent = "".join(f"%{byte:02x}" for byte in secret.encode())
    auth = f"Authorization: Bearer {good}\r\n"
    end = "Host: a\r\nConnection: close\r\n\r\n"

    def get(target: str, fields: str = "") -> bytes:
        return f"GET {target} HTTP/1.1\r\n{fields}{end}".encode()

    def post(body: str, fields: str = auth, path: str = "/api/v2/chat") -> bytes:
        return f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{fields}{end}{body}".encode()

    chat = {"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": "openai/gpt-5-mini"}}}
    in_model = {"input": {"messages": [], "modelOptions": {"model": secret}}}
    in_message = {"input": {"messages": [{"role": "user", "content": secret}], "modelOptions": {"model": "demo/error"}}}
    return {
        "bearer": get("/api/v2/status", f"Authorization: Bearer {secret}\r\n"),
        "bearer, with more": get("/api/v2/status", f"Authorization: Bearer {secret}x\r\n"),
        "basic": get("/api/v2/status", f"Authorization: Basic {encoded}\r\n"),
        "no scheme": get("/api/v2/status", f"Authorization: {secret}\r\n"),
        "two credentials": get("/api/v2/status", f"{auth}Authorization: Bearer {secret}\r\n"),
        "list of credentials": get("/api/v2/status", f"Authorization: Bearer {secret}, Bearer {secret}\r\n"),
        "another field": get("/api/v2/status", f"{auth}X-Api-Key: {secret}\r\n"),
        "cookie": get("/api/v2/status", f"{auth}Cookie: login_token={secret}\r\n"),
        "user agent": get("/api/v2/status", f"{auth}User-Agent: curl/8 {secret}\r\n"),
        "referer": get("/api/v2/status", f"{auth}Referer: http://a/?key={secret}\r\n"),
        "traceparent": get("/api/v2/status", f"{auth}Traceparent: 00-{secret}-01\r\n"),
        "forwarded": get("/api/v2/status", f"{auth}X-Forwarded-For: {secret}\r\n"),
        "request id": get("/api/v2/status", f"{auth}X-Request-Id: {secret}\r\n"),
        "field name": get("/api/v2/status", f"{auth}X-{secret}: 1\r\n"),
        "broken field": get("/api/v2/status", f"{auth}{secret}\r\n"),
        "broken field name": get("/api/v2/status", f"{auth}X ({secret}): 1\r\n"),
        "huge field": get("/api/v2/status", f"Authorization: Bearer {secret}{'x' * 40_000}\r\n"),
        "path": get(f"/api/v2/{secret}", auth),
        "path, nobody": get(f"/{secret}"),
        "path, percent-encoded": get(f"/api/v2/{percent}", auth),
        "query": get(f"/api/v2/status?access_token={secret}", auth),
        "query of a credential": get(f"/api/v2/status?login_token={secret}&a=1", auth),
        "query of a public page": get(f"/api/ai/models?key={secret}"),
        "query, percent-encoded": get(f"/api/v2/status?access%5ftoken={percent}"),
        "absolute target": get(f"http://{secret}@a/api/v2/status", auth),
        "huge target": get(f"/api/v2/status?{secret}{'x' * 40_000}", auth),
        "host": f"GET /api/v2/status HTTP/1.1\r\nHost: {secret}\r\n{auth}Connection: close\r\n\r\n".encode(),
        "method": f"{secret} / HTTP/1.1\r\n{end}".encode(),
        "version": f"GET / HTTP/{secret}\r\n{end}".encode(),
        "no request at all": f"{secret}\r\n\r\n".encode(),
        "model": post(json.dumps(in_model)),
        "model, of any": post(json.dumps(in_model), fields=f"Authorization: Bearer {unlisted}\r\n"),
        "message": post(json.dumps(in_message)),
        "body of a stranger": post(json.dumps(in_message), fields=f"Authorization: Bearer {secret}\r\n"),
        "broken body": post(f'{{"model": "{secret}'),
        "chunk extension": f"POST /api/v2/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{auth}{end}1;{secret}\r\nx\r\n0\r\n\r\n".encode(),
        "chunk size": f"POST /api/v2/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{auth}{end}{secret}\r\nx\r\n0\r\n\r\n".encode(),
        "good": post(json.dumps(chat), fields=auth),
    }  # fmt: skip


def spread(sidecar: Sidecar, secret: str, good: str, unlisted: str) -> dict[str, bytes]:
    """Send `secret` everywhere, with the keys of `heads`; what came back, by place."""
    token = sidecar.admin_token
    answers = {f"data plane, {place}": raw(sidecar.url, data) for place, data in heads(secret, good, unlisted).items()}
    answers |= {f"admin, {place}": raw(sidecar.admin_url, data) for place, data in heads(secret, token, token).items()}
    answers |= {f"metrics, {place}": raw(sidecar.metrics_url, data) for place, data in heads(secret, good, unlisted).items()}
    quoted = urllib.parse.quote(secret, safe="")
    admin = {"Authorization": f"Bearer {token}"}
    calls: list[tuple[str, str, object, dict[str, str]]] = [
        ("GET", "/admin/v1/keys", None, {"Authorization": f"Bearer {secret}"}),
        ("GET", f"/admin/v1/keys/{quoted}", None, admin),
        ("GET", f"/admin/v1/keys?q={quoted}", None, admin),
        ("GET", f"/admin/v1/keys?cursor={quoted}", None, admin),
        ("GET", f"/admin/v1/keys?{quoted}=1", None, admin),
        ("GET", f"/admin/v1/requests?key={quoted}", None, admin),
        ("POST", "/admin/v1/keys/identify", {"token": secret}, admin),
        ("POST", "/admin/v1/keys/identify", {"token": [secret]}, admin),
        ("POST", "/admin/v1/keys", {"name": "x", secret: 1}, admin),
        ("POST", "/admin/v1/keys", {"name": "x", "expires_at": secret}, admin),
        ("POST", "/admin/v1/keys", f'{{"name": "{secret}'.encode(), admin),
        ("POST", "/admin/v1/keys/import", {"name": "x", "sha256": secret}, admin),
        ("GET", f"/{quoted}", None, {}),
        ("GET", f"/sign-in?next={quoted}", None, {}),
        ("GET", f"/keys?q={quoted}", None, {"Cookie": f"session={secret}"}),
    ]
    for method, path, body, headers in calls:
        answer = call(method, f"{sidecar.admin_url}{path}", body, headers)
        answers[f"{method} {path.replace(quoted, '…')}"] = repr(answer.headers).encode() + answer.body
    answers["console, signing in"] = sign_in(sidecar, secret)
    return answers


def sign_in(sidecar: Sidecar, secret: str) -> bytes:
    form = urllib.parse.urlencode({"token": secret, "next": "/"})
    connection = http.client.HTTPConnection(sidecar.admin_url.removeprefix("http://"), timeout=10)
    fields = {"Content-Type": "application/x-www-form-urlencoded", "Origin": sidecar.admin_url, "Sec-Fetch-Site": "same-origin"}
    connection.request("POST", "/sign-in", form, fields)
    with connection.getresponse() as answer:
        told = repr(answer.getheaders()).encode() + answer.read()
    connection.close()
    return told


def command_line(sidecar: Sidecar, *words: str, stdin: str = "") -> bytes:
    environment = {**sidecar.environment, "SIDECAR_ADMIN_URL": sidecar.admin_url}
    command = [sys.executable, "-m", "sidecar", *words]
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).encode()


# Where it is looked for -------------------------------------------------------------------------


def shapes(secret: str) -> set[bytes]:
    """`secret` as it could be written: as it is (or most of it), in base64 at each offset, percent-encoded, in hex."""
    data = secret.encode()
    middle = data[len(data) // 4 : -len(data) // 4]
    found = {middle, middle.hex().encode(), middle.hex().upper().encode()}
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Without the ends, which depend on what stands around.
            found.add(encode(bytes(offset) + data)[4:-4])
    for form in ("%{:02x}", "%{:02X}"):
        found.add("".join(form.format(byte) for byte in middle).encode())
    return found


def in_store(sidecar: Sidecar) -> Iterator[tuple[str, bytes]]:
    """Every name and value of the store."""
    with opened(sidecar) as store:
        for name in store.scan_iter(count=1000):
            kind = store.type(name)
            if kind == b"none":
                # It has expired since it was listed.
                continue
            read = {
                b"string": lambda name=name: [store.get(name)],
                b"hash": lambda name=name: [part for pair in store.hgetall(name).items() for part in pair],
                b"list": lambda name=name: store.lrange(name, 0, -1),
                b"set": lambda name=name: store.smembers(name),
                b"zset": lambda name=name: store.zrange(name, 0, -1),
                b"stream": lambda name=name: [part for _, fields in store.xrange(name) for pair in fields.items() for part in pair],
            }[kind]
            values = (value for value in read() if value is not None)
            yield f"store, {name.decode('utf-8', 'replace')}", b"\0".join([name, *map(unpacked, values)])


def unpacked(value: bytes) -> bytes:
    """A value of the store, and if it is a compressed block of the call log what is in it."""
    if value[:1] != b"\x01":
        return value
    try:
        return value + b"\0".join(msgspec.msgpack.decode(zlib.decompress(value[1:]), type=list[bytes]))
    except (zlib.error, msgspec.DecodeError):
        return value


def in_files(sidecar: Sidecar) -> Iterator[tuple[str, bytes]]:
    for path in sidecar.data_dir.rglob("*"):
        # One that is written anew may have another name by now; it is looked through again when nothing is written any more.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                yield f"data directory, {path.relative_to(sidecar.data_dir)}", path.read_bytes()
    yield "log", sidecar.log.read_bytes()


def in_processes(sidecar: Sidecar) -> Iterator[tuple[str, bytes]]:
    assert sidecar.process is not None
    for pid in [sidecar.process.pid, *(pid for role in ("worker", "control", "store") for pid in sidecar.children(role))]:
        yield f"command line of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes()


def in_pages(sidecar: Sidecar) -> Iterator[tuple[str, bytes]]:
    for accept in ("text/plain", "application/openmetrics-text"):
        yield f"metrics as {accept}", call("GET", f"{sidecar.metrics_url}/metrics", headers={"Accept": accept}).body
    for path in (
        "/requests?limit=1000",
        "/audit-events?limit=1000",
        "/status",
        "/keys",
        "/usage?group_by=model",
        "/anomalies",
        "/shadow-report",
        "/admin-tokens",
    ):
        yield f"admin API, {path}", sidecar.admin("GET", path).body


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    (tmp_path / "sidecar.yaml").write_text("log: {access: true, level: debug}\n")
    with hub_process("--access-key", HUB_KEY) as hub:
        sidecar = Sidecar(tmp_path, hub.url, HUB_KEY)
        sidecar.environment["SIDECAR_CONFIG"] = str(tmp_path / "sidecar.yaml")
        with sidecar:
            yield sidecar


def test_secrets_are_nowhere_but_where_they_must_be(sidecar: Sidecar) -> None:
    key_id, key = sidecar.create_key(name="canary")
    listed_id, listed = sidecar.create_key(allowed_models=["openai/gpt-5-mini"])
    _, unlisted = sidecar.create_key()
    strange = generate("ahk")
    made = sidecar.admin("POST", "/admin-tokens", {"name": "canary", "role": "operator"}).json
    secrets = {
        "API key": key,
        "second key": listed,
        "unknown key": strange,
        "admin token": made["token"],
        "first token": sidecar.admin_token,
        "hub key": HUB_KEY,
    }
    answers = {}
    for name, secret in secrets.items():
        answers |= {f"answer to {name}: {place}": told for place, told in spread(sidecar, secret, listed, unlisted).items()}
        answers[f"command line with {name} to identify"] = command_line(sidecar, "keys", "identify", stdin=secret)
        answers[f"command line with {name} as name"] = command_line(sidecar, "keys", "show", secret)
        token = sidecar.data_dir.parent / "token"
        token.write_text(secret)
        answers[f"command line with {name} as token"] = command_line(sidecar, "keys", "list", "--admin-token-file", str(token))
    rotated = sidecar.admin("POST", f"/keys/{key_id}/rotate", {"grace_period": "0s"}).json["secret"]
    secrets |= {"rotated key": rotated, "key with every model": unlisted}
    answers |= {f"answer to rotated-out key: {place}": told for place, told in list(spread(sidecar, key, listed, unlisted).items())[:3]}
    sidecar.admin("POST", f"/keys/{listed_id}/revoke")
    answers["answer to a revoked key"] = sidecar.ask(listed).body
    wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=listed_id, reason="api_key_revoked") >= 1, within=SOON)
    wait_until(lambda: sidecar.metric("sidecar_metering_pending_bytes") == 0, within=SOON)

    found = []
    places = [*answers.items(), *in_pages(sidecar), *in_store(sidecar), *in_processes(sidecar)]
    places += [(f"environment variable {name}", value.encode()) for name, value in os.environ.items()]
    places += in_files(sidecar)
    sidecar.stop()
    places += in_files(sidecar)
    assert len(places) > 300
    for name, secret in secrets.items():
        for shape in shapes(secret):
            found += [
                f"{name} in {place}: …{data[max(0, data.index(shape) - 60) : data.index(shape) + 20]!r}"
                for place, data in places
                if shape in data and not allowed(name, place)
            ]
    assert not found, "\n".join(sorted(set(found)))


def allowed(name: str, place: str) -> bool:
    """The first admin token is in its file, and a hub may tell a client which model the client asked for."""
    return (name == "first token" and place == "data directory, admin-token") or place == f"answer to {name}: data plane, model, of any"
