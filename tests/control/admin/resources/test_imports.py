"""Imports of many tokens: which bodies are read, and how much is said of them."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest

from sidecar.control.admin.endpoint import BODY_BOUND
from sidecar.control.admin.resources import imports
from sidecar.control.admin.resources.imports import MOST_LINES
from tests.control.admin.conftest import Api

GOOD = b'{"name":"k","sha256":"%s"}'
BOUND = 32 << 20


async def send(api: Api, body: bytes) -> tuple[int, Any]:
    headers = {"Content-Type": "application/x-ndjson"}
    status, answer, _ = await api.call("POST", "/admin/v1/keys/import/lines", data=io.BytesIO(body), headers=headers)
    return status, answer


def good(number: int) -> bytes:
    return GOOD % hashlib.sha256(b"%d" % number).hexdigest().encode()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n \t\n"])
async def test_lines_have_their_numbers_in_the_body(api: Api, end: bytes) -> None:
    body = b"\n\n  \n" + b"\r\n".join([good(1), b"", b"  1", good(2)]) + end
    status, report = await send(api, body)
    assert (status, report["imported"], report["refused"]) == (200, 2, 1)
    assert [(line["line"], line["error"] is None) for line in report["lines"]] == [(4, True), (6, False), (7, True)]


async def test_more_lines_than_good_ones_have_room_are_refused_at_once(api: Api) -> None:
    assert MOST_LINES * len(good(1) + b"\n") > BOUND
    status, answer = await send(api, b"1\n" * (MOST_LINES + 1))
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert "400,000 lines" in answer["error"]["message"]
    assert await api.services.keys.count() == 0


async def test_blank_lines_alone_are_no_import(api: Api) -> None:
    status, answer = await send(api, b" \n" * MOST_LINES)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert "no lines" in answer["error"]["message"]


async def test_a_line_is_no_longer_than_a_body_of_its_own(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    decode = imports.decode_body

    def decode_body(line: bytes, message: Any) -> Any:
        read.append(len(line))
        return decode(line, message)

    monkeypatch.setattr(imports, "decode_body", decode_body)
    status, report = await send(api, b'{"name":"%s"}\n' % (b"x" * BODY_BOUND) + good(1))
    assert (status, report["imported"], report["lines"][0]["error"]) == (200, 1, "is longer than 1 MiB.")
    assert read == [len(good(1))]


async def test_of_a_line_with_many_faults_not_all_is_said(api: Api) -> None:
    status, report = await send(api, b"{%s}" % b",".join(b'"m%d":1' % number for number in range(1000)))
    (line,) = report["lines"]
    assert status == 200
    assert line["error"].startswith("m0: unknown member; known here: ")
    assert len(line["error"]) < 500
