"""Forms that no browser sends are refused in words, and are no fault of the sidecar's."""

from __future__ import annotations

import pytest

from tests.control.console.conftest import Console

_FORM = "application/x-www-form-urlencoded"
_PARTS = "multipart/form-data; boundary=x"
_ODD = b"--x\r\nContent-Disposition: form-data; name=token\r\nContent-Transfer-Encoding: odd\r\n\r\na\r\n--x--\r\n"
_HALF = b"--x\r\nContent-Disposition: form-data; name=token\r\nContent-Type: text/plain; charset=utf-7\r\n\r\n+2AA-\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (f"{_FORM}; charset=nonsense", b"token=a"),
        (_FORM, b"token=\xff"),
        (f"{_FORM}; charset=utf-7", b"token=+2AA-"),
        (f"{_FORM}; charset=unicode_escape", b"\\ud800=a"),
        (_PARTS, _HALF),
        ("multipart/form-data", b"token=a"),
        (_PARTS, b"token=a"),
        (_PARTS, b"--x\r\n\r\na\r\n--x--\r\n"),
        (_PARTS, _ODD),
    ],
)
async def test_a_form_that_cannot_be_read(console: Console, content_type: str, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    page = await console.browser().send("POST", "/sign-in", body, Content_Type=content_type)
    assert (page.status, "cannot be read" in page.text) == (400, True)
    assert "Traceback" not in caplog.text


async def test_a_file_is_no_text(console: Console) -> None:
    parts = b"--x\r\nContent-Disposition: form-data; name=token; filename=a\r\n\r\n%s\r\n--x--\r\n" % console.token.encode()
    assert (await console.browser().send("POST", "/sign-in", parts, Content_Type=_PARTS)).status == 401
