"""Raw requests that a careful front must refuse, break off or clean, each with its neighbours.

A case says what may come back and what may reach the hub. `KEY` stands for a valid key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

KEY = b"@@KEY@@"
AUTH = b"Host: gw.test\r\nAuthorization: Bearer " + KEY + b"\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + AUTH + b"\r\n"

Kind = Literal["reject", "abort", "clean"]


@dataclass(frozen=True)
class Case:
    """`reject`: nothing reaches the hub. `abort`: never a complete request. `clean`: one request, without `absent`."""

    name: str
    raw: bytes
    kind: Kind
    statuses: tuple[int, ...]
    absent: tuple[bytes, ...] = (b"smuggled",)
    closes: bool = True


def _get(
    target: bytes = b"/v1/models", *, version: bytes = b"HTTP/1.1", method: bytes = b"GET", fields: bytes = b"", auth: bytes = AUTH
) -> bytes:
    return method + b" " + target + b" " + version + b"\r\n" + auth + fields + b"\r\n"


def _post(fields: bytes, body: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /v1/chat " + version + b"\r\n" + AUTH + fields + b"\r\n" + body


def _label(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode()[:48]


def request_lines() -> Iterator[Case]:
    lines = [
        b"GET  /v1 HTTP/1.1", b"GET /v1  HTTP/1.1", b"GET /v1 HTTP/1.1 ", b" GET /v1 HTTP/1.1", b"GET\t/v1\tHTTP/1.1", b"GET /v1\tHTTP/1.1",
        b"GET /v1", b"GET", b"GET /v1 http/1.1", b"GET /v1 HTTP/1.", b"GET /v1 HTTP/11", b"GET /v1 HTTP/1.1.1", b"GET /v1 HTTP/ 1.1",
        b"GET /v1 HTTP1.1", b"GET /v1 HTTPS/1.1", b"GET /v1 HTTP/\xef\xbc\x91.1", b"get /v1 HTTP/1.1", b"Get /v1 HTTP/1.1", b"G\x00T /v1 HTTP/1.1",
        b"G(T /v1 HTTP/1.1", b"GET /v1 HTTP/1.1\x00", b"\x00GET /v1 HTTP/1.1", b"GET /v1\rHTTP/1.1", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0",
        b"HELO x", b"", b"GET /a b HTTP/1.1", b"\xef\xbb\xbfGET /v1 HTTP/1.1",
    ]  # fmt: skip
    for line in lines:
        yield Case(f"line {_label(line)}", line + b"\r\n" + AUTH + b"\r\n", "reject", (400, 405, 505))
    for version in (b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/0.0"):
        yield Case(f"version {version.decode()}", _get(version=version), "reject", (400, 505))
    for method in (b"CONNECT", b"TRACE", b"TRACK", b"SLUDGE", b"PROPFIND", b"PRI", b"GETX", b"G"):
        yield Case(f"method {method.decode()}", _get(method=method) + SMUGGLED, "reject", (400, 405, 501))
    yield Case("connect authority", b"CONNECT gw.test:443 HTTP/1.1\r\n" + AUTH + b"\r\n" + SMUGGLED, "reject", (400, 405))
    yield Case("empty lines", b"\r\n" * 3 + _get(), "reject", (400,))
    yield Case("bare line feeds", _get().replace(b"\r\n", b"\n"), "reject", (400,))
    yield Case("one bare line feed", b"GET /v1 HTTP/1.1\n" + AUTH + b"\r\n", "reject", (400,))


def targets() -> Iterator[Case]:
    for byte in [*range(0x21), 0x22, 0x23, 0x3C, 0x3E, 0x5C, 0x5E, 0x60, 0x7B, 0x7C, 0x7D, *range(0x7F, 0x84), 0xC3, 0xFF]:
        for place in (b"/v1/a%cb", b"/v1/a?q=%cb"):
            target = place % byte
            yield Case(f"target byte {byte:02x} in {place.decode()}", _get(target), "reject", (400,))
    for bad in (
        b"/v1/%", b"/v1/%2", b"/v1/%zz", b"/v1/%2x", b"/v1/%u0041", b"/v1?a=%zz", b"/v1/%00", b"/v1?a=%00", b"/v1/%5c", b"/v1/%5Cadmin",
        b"//evil.example/v1", b"/v1//models", b"/v1/../admin", b"/v1/./models", b"/v1/..", b"/v1/.", b"/..", b"/v1/..;/admin", b"/v1/.;x/admin",
        b"/v1/%2e%2e/admin", b"/v1/%2E%2e/admin", b"/v1/.%2e/admin", b"/v1/%2e/admin", b"/v1/..%2fadmin", b"/v1%2f..%2fadmin", b"/v1/%2e%2e%2fadmin",
        b"/v1%2f%2fadmin", b"/v1/#x", b"/v1?#/../x", b"*", b"v1/models", b"@evil.example/", b":80@evil.example/", b"http://u:p@gw.test/v1",
        b"http:///v1", b"http://evil.example/v1", b"ftp://gw.test/v1", b"http:/v1", b"http:gw.test", b"//", b"http://gw.test#x", b"file:///etc/passwd",
    ):  # fmt: skip
        yield Case(f"target {_label(bad)}", _get(bad), "reject", (400, 404))
    yield Case("long target", _get(b"/v1/" + b"a" * 9000), "reject", (414,))
    yield Case("very long target", _get(b"/v1/" + b"a" * 90_000), "reject", (414,))
    yield Case("long query", _get(b"/v1?q=" + b"b" * 9000), "reject", (414,))


def headers() -> Iterator[Case]:
    fields = [
        b"X-A : 1", b" X-A: 1", b"\tX-A: 1", b"X A: 1", b": v", b"X-A", b"X-A\x00: 1", b"X\x01A: 1", b"X-\xe9: 1", b"X-A: 1\r\n folded", b"X-A: 1\r\n\tfolded: y",
        b"X-A:\r\n 1", b"X-A: a\rb", b"X-A: a\nX-User: admin", b"X-A: a\x00b", b"X-A: a\x0bb", b"X-A: a\x0cb", b"X-A: a\x7fb", b"X-A: a\x1bb",
        b"X-A: ad\xffmin", b"X-A: \xc3", b"X-A: \xed\xa0\x80", b"X(A): 1", b"X,A: 1", b"X/A: 1", b"X\xc2\xa0A: 1", b"(: 1", b"Host: gw.test",
        b"Host: evil.example", b"host: gw.test", b"Content-Type: a/b\r\nContent-Type: c/d", b"Max-Forwards: 1\r\nMax-Forwards: 2", b"User-Agent: a\r\nUser-Agent: b",
    ]  # fmt: skip
    for field in fields:
        yield Case(f"field {_label(field)}", _get(fields=field + b"\r\n"), "reject", (400,))
    hosts = [
        b"", b" ", b"gw.test#", b"gw.test/", b"gw.test?", b"a@b", b"a, b", b"a b", b"gw.test:99999", b"gw.test:x", b"gw.test:", b"gw.test:80:80", b"[::1",
        b"::1", b"a/../?x=#", b"a\\b", b"<a>", b"a%2eb", b"\xe2\x84\xaa.test", b"http://gw.test", b"a;b", b"*",
    ]  # fmt: skip
    for host in hosts:
        raw = b"GET /v1 HTTP/1.1\r\nHost: " + host + b"\r\nAuthorization: Bearer " + KEY + b"\r\n\r\n"
        yield Case(f"host {_label(host)}", raw, "reject", (400,))
    yield Case("no host", b"GET /v1 HTTP/1.1\r\nAuthorization: Bearer " + KEY + b"\r\n\r\n", "reject", (400,))
    yield Case("many fields", _get(fields=b"".join(b"X-%d: 1\r\n" % number for number in range(120))), "reject", (431,))
    yield Case("long field", _get(fields=b"X-A: " + b"a" * 40_000 + b"\r\n"), "reject", (431,))
    yield Case("huge head", _get(fields=b"".join(b"X-%d: %b\r\n" % (number, b"a" * 4000) for number in range(100))), "reject", (431,))
    yield Case("unknown expectation", _get(fields=b"Expect: 200-maybe\r\n"), "reject", (417,))


def framing() -> Iterator[Case]:
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    yield Case(
        "length and coding", _post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED), "reject", (400,)
    )
    yield Case(
        "coding and length", _post(b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", b"0\r\n\r\n" + SMUGGLED), "reject", (400,)
    )
    for length in (
        b"+5", b"-5", b"5 5", b"1_0", b"5.0", b"0x5", b"abc", b"", b"5,5", b"5, 5", b"5;", b"\xef\xbc\x95", b'"5"', b"5\x0b", b"9" * 40, b"1e3", b"5 \t6",
    ):  # fmt: skip
        yield Case(f"length {_label(length)}", _post(b"Content-Length: " + length + b"\r\n", b"hello" + SMUGGLED), "reject", (400, 413))
    for pair in (
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 0\r\ncontent-length: 40",
    ):
        yield Case(f"lengths {_label(pair)}", _post(pair + b"\r\n", b"hello" + SMUGGLED), "reject", (400,))
    for coding in (
        b"xchunked", b"chunkedx", b"chunk", b"chunked, identity", b"identity, chunked", b"identity", b"chunked, chunked", b"gzip, chunked", b"gzip",
        b"deflate", b",chunked", b"chunked,", b'"chunked"', b"'chunked'", b"chunked;q=1", b"cow chunked", b"\x0bchunked", b"chunked\x0b", b"chunked\x00",
        b"\xa0chunked", b"\x85chunked", b"ch\x96nked", b"", b"chun\xe2\x84\xaaed", b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\n x",
        b"gzip\r\nTransfer-Encoding: chunked",
    ):  # fmt: skip
        for extra, body in ((b"", chunks), (b"Content-Length: 5\r\n", b"hello")):
            raw = _post(b"Transfer-Encoding: " + coding + b"\r\n" + extra, body + SMUGGLED)
            yield Case(f"coding {_label(coding)}{' and length' if extra else ''}", raw, "reject", (400, 501))
    for name in (b"Transfer-Encoding ", b"Transfer\r-Encoding", b" Transfer-Encoding", b"Transfer Encoding", b"Transfer-\x00Encoding"):
        yield Case(
            f"coding name {_label(name)}", _post(name + b": chunked\r\nContent-Length: 5\r\n", b"hello" + SMUGGLED), "reject", (400,)
        )
    yield Case("chunked in 1.0", _post(b"Transfer-Encoding: chunked\r\n", chunks + SMUGGLED, b"HTTP/1.0"), "reject", (400,))
    yield Case("too much announced", _post(b"Content-Length: 1099511627776\r\n", b""), "reject", (413,))


def chunks() -> Iterator[Case]:
    bodies = [
        b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0_5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n", b"\t5\r\nhello\r\n0\r\n\r\n", b"F" * 17 + b"\r\nhello\r\n0\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n", b"5\x0b\r\nhello\r\n0\r\n\r\n",
        b"5\x00\r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;a\x00\r\nhello\r\n0\r\n\r\n", b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\r\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nXX", b"5\r\nhello\r\n0\r\n\rZ",
        b"5\r\nhello\r\n0\n\n", b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n", b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n", b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n", b"5,5\r\nhello\r\n0\r\n\r\n", b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n", b"\r\n0\r\n\r\n",
        b"5;a \r\nhello\r\n0\r\n\r\n", b"5 a\r\nhello\r\n0\r\n\r\n", b"5 ;\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(2000)) + b"\r\n",
    ]  # fmt: skip
    for body in bodies:
        yield Case(f"chunk {_label(body)}", _post(b"Transfer-Encoding: chunked\r\n", body + SMUGGLED), "abort", (400, 413, 431))


def credentials() -> Iterator[Case]:
    for fields, statuses in (
        (b"", (401,)), (b"Authorization:\r\n", (401,)), (b"Authorization: Bearer\r\n", (401,)), (b"Authorization: Basic QDo=\r\n", (401,)),
        (b"Authorization: Bearer nonsense\r\n", (401,)), (b"Authorization: Bearer\t" + KEY + b"\r\n", (400, 401)), (b"Authorization: " + KEY + b"\r\n", (401,)),
        (b"Authorization: Bearer " + KEY + b" x\r\n", (400,)), (b"Authorization: Bearer " + KEY + b", Bearer x\r\n", (400,)),
        (b"Authorization: Bearer " + KEY + b"\r\nauthorization: Bearer " + KEY + b"\r\n", (400,)), (b"Authorization: Bearer ' OR '1'='1\r\n", (400, 401)),
        (b'Authorization: Bearer ab"c<d>\r\n', (401,)), (b"Proxy-Authorization: Bearer " + KEY + b"\r\n", (401,)), (b"Cookie: login_token=" + KEY + b"\r\n", (401,)),
        (b"X-Forwarded-User: admin\r\nX-Real-IP: 127.0.0.1\r\nX-Original-URL: /livez\r\n", (401,)), (b"Authorization: Bearer " + KEY[:-1] + b"\r\n", (401,)),
        (b"Authorization_: Bearer " + KEY + b"\r\n", (401,)), (b"authorization: bearer  \r\n", (401,)),
    ):  # fmt: skip
        yield Case(f"credential {_label(fields)}", _get(auth=b"Host: gw.test\r\n", fields=fields), "reject", statuses, closes=False)
    yield Case("credential in the query too", _get(b"/v1?access_token=x"), "reject", (400,), closes=False)
    yield Case(
        "upload without a key", b"POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 70_000, "reject", (401,)
    )


def websockets() -> Iterator[Case]:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    for name, fields, statuses in (
        ("old version", b"Sec-WebSocket-Version: 7\r\n" + key, (400, 426)),
        ("no version", key, (400, 426)),
        ("two versions", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n" + key, (400, 426)),
        ("no key", b"Sec-WebSocket-Version: 13\r\n", (400,)),
        ("short key", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: abcd\r\n", (400,)),
        ("bad key", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ####\r\n", (400,)),
    ):
        yield Case(f"websocket {name}", _get(b"/v1/realtime", fields=upgrade + fields), "reject", statuses, closes=False)
    post = _get(b"/v1/realtime", method=b"POST", fields=upgrade + b"Sec-WebSocket-Version: 13\r\n" + key)
    yield Case("websocket by POST", post, "reject", (400, 405), closes=False)


def cleaned() -> Iterator[Case]:
    yield Case("plain", _get(), "clean", (200,), absent=(KEY,), closes=False)
    yield Case("absolute form", _get(b"http://gw.test/v1/models"), "clean", (200,), absent=(KEY, b"GET http:"), closes=False)
    yield Case("one empty line first", b"\r\n" + _get(), "clean", (200,), absent=(KEY,), closes=False)
    for fields, absent in (
        (b"Connection: keep-alive, X-Secret\r\nX-Secret: 7\r\n", (b"x-secret", b"X-Secret")),
        (b"Connection: x-request-id, via, authorization, content-length\r\n", (KEY,)),
        (
            b"Keep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X\r\nProxy-Connection: keep-alive\r\n",
            (b"Keep-Alive", b"TE:", b"Trailer", b"Proxy-"),
        ),
        (b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nConnection: upgrade, http2-settings\r\n", (b"h2c", b"AAA")),
        (b"X_Forwarded_User: admin\r\nx_user_did: a\r\nTransfer_Encoding: chunked\r\n", (b"admin", b"X_", b"x_user", b"r_Encoding")),
        (b"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n", (b"6.6.6.6",)),
        (b"X-User-Did: a\r\nX-Auth-User: evil\r\nX-Remote-User: evil\r\nRemote-User: evil\r\nX-Original-URL: /evil\r\n", (b"evil", b"Did")),
        (b"Cookie: a=secret\r\nProxy-Authorization: Basic secret\r\n", (b"secret",)),
    ):
        yield Case(f"clean {_label(fields)}", _get(fields=fields), "clean", (200,), absent=absent, closes=False)
    for extension in (b";evil=1", b" ; evil\t=\t1", b';x = "evil" ;evil'):
        yield Case(
            f"chunk extension {_label(extension)}",
            _post(b"Transfer-Encoding: chunked\r\n", b"5" + extension + b"\r\nhello\r\n0\r\n\r\n"),
            "clean",
            (200,),
            (b"evil",),
            closes=False,
        )
    yield Case(
        "trailer",
        _post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nX-Evil: 1\r\n\r\n"),
        "clean",
        (200,),
        (b"vil",),
        closes=False,
    )
    yield Case("zeros before the length", _post(b"Content-Length: 005\r\n", b"hello"), "clean", (200,), (b": 005",), closes=False)


def all_cases() -> list[Case]:
    """Every case, names unique."""
    groups = (request_lines, targets, headers, framing, chunks, credentials, websockets, cleaned)
    return [case for group in groups for case in group()]
