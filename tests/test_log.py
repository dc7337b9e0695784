from __future__ import annotations

import codecs
import contextlib
import io
import json
import logging
import os
import pty
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import log
from sidecar.keys.token import generate


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    log.setup("info", "worker-0", stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def last(stream: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return found


def test_a_line_is_one_json_object(lines: io.StringIO) -> None:
    logging.getLogger("sidecar.test").info("two\nlines of %s", "text", extra={"key_id": "key_1"})
    line = last(lines)
    assert (line["level"], line["process"], line["logger"]) == ("info", "worker-0", "sidecar.test")
    assert (line["message"], line["key_id"]) == ("two\nlines of text", "key_1")
    assert str(line["time"]).endswith("Z")
    assert len(lines.getvalue().splitlines()) == 1


def test_extra_cannot_replace_the_fields_of_the_line(lines: io.StringIO) -> None:
    logging.getLogger("sidecar.test").info("x", extra={"level": "none", "process_": 1})
    assert last(lines)["level"] == "info"


@pytest.mark.parametrize("name", ["aiohttp.server", "asyncio", "redis", "sidecar"])
def test_no_credential_of_any_library_gets_out(lines: io.StringIO, name: str) -> None:
    token = generate("ahk")
    try:
        raise ValueError(f"bad token {token}")
    except ValueError:
        logging.getLogger(name).exception(
            "Authorization: Bearer %s to redis://user:geheim@host", token, extra={"header": "blocklet-z8ia3xzq2tMq8CRH"}
        )
    text = lines.getvalue()
    assert token not in text
    assert "geheim" not in text
    assert "z8ia3" not in text
    assert "ValueError" in str(last(lines)["exception"])


@given(prefix=st.from_regex(r"[a-z][a-z0-9]{1,15}", fullmatch=True), before=st.text(), after=st.text())
def test_a_key_is_cut_out_wherever_it_stands(prefix: str, before: str, after: str) -> None:
    token = generate(prefix)
    assert token not in log.redact(f"{before} {token} {after}")


@pytest.mark.parametrize("before", ["\n", "\t", "\r", "\x01", '"', "\\", "\\n", ""])
@pytest.mark.parametrize("secret", [generate("ahk"), generate("abcdefghijklmnop"), "blocklet-0123456789abcdef"])
def test_what_json_escapes_before_a_credential_neither_hides_it_nor_breaks_the_line(lines: io.StringIO, before: str, secret: str) -> None:
    text = f"-{before}{secret}"
    logging.getLogger("library").warning("failed: %s", text, extra={"given": {text: [text, Path(text)]}})
    assert secret not in str(last(lines))


def test_a_backspace_before_what_is_nearly_a_credential_does_not_break_the_line(lines: io.StringIO) -> None:
    logging.getLogger("library").warning("failed: %s", "\blocklet-0123456789abcdef")
    assert last(lines)["message"] == "failed: \blocklet-0123456789abcdef"


def test_ordinary_text_stays() -> None:
    text = 'GET http://127.0.0.1:8080/api/v2/chat?x=1 key_0123456789abcdef from 10.0.0.1:80, user@host "Bearer"'
    assert log.redact(text) == text


def test_a_stream_that_cannot_be_written_costs_the_line_only(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    handler = log.LineHandler(Full())
    logger = logging.Logger("x")
    logger.addHandler(handler)
    logger.error("lost")
    assert handler.lost == 1
    assert capsys.readouterr().err == ""


class Pipe:
    """A pipe (or what `ends` are) that nobody reads until `read`, and a logger that writes there."""

    def __init__(self, ends: tuple[int, int] | None = None) -> None:
        self.reading, writing = ends or os.pipe()
        os.set_blocking(self.reading, False)
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.stream = os.fdopen(writing, "w", encoding="utf-8")
        self.handler = log.LineHandler(self.stream)
        self.handler.setFormatter(log.JsonFormatter("worker-0"))
        self.logger = logging.Logger("x")
        self.logger.addHandler(self.handler)

    def log(self, *messages: str) -> bool:
        """Whether all that could be done without waiting for a reader."""
        writer = threading.Thread(target=lambda: [self.logger.error(message) for message in messages], daemon=True)
        writer.start()
        writer.join(20)
        return not writer.is_alive()

    def read(self) -> list[str]:
        found = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.reading, 1 << 20):
                found += piece
        return self.decoder.decode(found).splitlines()

    def close(self) -> None:
        self.handler.close()
        os.close(self.reading)
        with contextlib.suppress(OSError):
            self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_a_reader_that_has_stopped_costs_lines_and_nobody_waits_for_it(pipe: Pipe) -> None:
    assert pipe.log(*["x" * 300] * 1000)
    assert pipe.handler.lost > 0
    before = pipe.read()
    assert len(before) + pipe.handler.lost == 1000
    assert pipe.log("back", "again")
    told, *messages = [json.loads(line)["message"] for line in pipe.read()]
    assert told == f"{pipe.handler.lost} log lines were lost: nobody took them"
    assert messages == ["back", "again"]


def test_a_line_longer_than_a_pipe_is_cut_off_and_the_next_one_is_whole(pipe: Pipe) -> None:
    assert pipe.log("ä" * 100_000)
    assert pipe.handler.lost == 1
    assert len(pipe.read()) == 1
    assert pipe.log("back")
    _, told, message = pipe.read()
    assert (json.loads(told)["level"], json.loads(message)["message"]) == ("warning", "back")


@pytest.mark.parametrize("size", [100, 333, 700])
def test_nobody_waits_for_a_terminal_that_does_not_read(size: int) -> None:
    terminal = Pipe(pty.openpty())
    try:
        assert terminal.log(*["x" * size] * 2000)
        assert terminal.handler.lost > 0
    finally:
        terminal.close()


def test_a_long_line_is_written_in_one_piece_for_others_write_there_too() -> None:
    reader, writer = (end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    ends = Pipe((reader, writer))
    try:
        assert ends.log("x" * 20_000)
        assert len(json.loads(os.read(reader, 1 << 20))["message"]) == 20_000
    finally:
        ends.close()


def test_a_long_line_goes_to_a_file_in_one_piece() -> None:
    written: list[str] = []

    class File(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    log.LineHandler(File()).emit(logging.makeLogRecord({"msg": "x" * 20_000}))
    assert written == ["x" * 20_000 + "\n"]


def test_what_libraries_narrate_is_left_out(lines: io.StringIO) -> None:
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("sidecar").debug("detail")
    assert lines.getvalue() == ""
