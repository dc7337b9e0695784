from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from typing import Any, get_args

from sidecar.control.access_log import AccessLog, line
from sidecar.control.addresses import Addresses
from sidecar.control.totals.sums import Sums
from sidecar.events.record import Ending, Request, UsageSource
from sidecar.events.wire import encode
from sidecar.keys.token import generate
from tests.control.support.events import denied, key_id, request, state
from tests.support.source import ROOT

FULL = Addresses("full", b"salt")


def log_of(*events: Request, sample: float = 1.0, addresses: Addresses = FULL) -> list[dict[str, object]]:
    stream = io.BytesIO()
    log = AccessLog(stream, sample=sample, client=addresses.client, network=addresses.network)
    log.observe("s", [encode(event) for event in (*events, state())], Sums())
    log.close()
    return [json.loads(text) for text in stream.getvalue().splitlines()]


def test_a_line_names_what_happened() -> None:
    (entry,) = log_of(request(key_id(1), time=1_700_000_000.5, total=0.25, hub_time=0.2, trace_id="ab" * 16))
    assert entry["ts"] == "2023-11-14T22:13:20.500Z"
    assert entry["event"] == "http.request"
    assert entry["key.id"] == key_id(1)
    assert entry["http.response.status_code"] == 200
    assert entry["gen_ai.usage.input_tokens"] == 12
    assert (entry["duration_ms"], entry["overhead_ms"]) == (250, 50)
    assert entry["client.network"] == "192.0.2.0/24"


def test_what_looks_like_a_credential_is_cut_out_wherever_it_is() -> None:
    token = generate("ahk")
    entries = log_of(request(path=f"/v1/{token}", model=token, agent=token, client=token))
    assert token not in json.dumps(entries)


def test_a_control_character_before_what_is_nearly_a_credential_does_not_break_the_line() -> None:
    model = "\blocklet-0123456789"
    assert log_of(request(model=model))[0]["gen_ai.request.model"] == model


def test_a_line_end_before_a_credential_does_not_hide_it() -> None:
    (entry,) = log_of(request(model="my\nblocklet-0123456789"))
    assert entry["gen_ai.request.model"] == "my\n[redacted]"


def test_only_listed_fields_are_logged() -> None:
    fields = set(line(request(), FULL.client, FULL.network))
    assert not {name for name in fields if any(word in name for word in ("header", "cookie", "query", "body.content", "authorization"))}


def test_sampling_keeps_every_failure() -> None:
    entries = log_of(*(request(key_id(1)) for _ in range(400)), *(denied() for _ in range(10)), sample=0.1)
    assert sum(entry["key.outcome"] == "denied" for entry in entries) == 10
    assert 10 <= sum(entry["key.outcome"] == "ok" for entry in entries) <= 100


def test_what_waits_at_the_end_leaves_the_buffer_too() -> None:
    """Nothing else need write it: the end of the interpreter knows of the buffer of `sys.stdout` alone."""
    is_ending, written = threading.Event(), bytearray()

    class Raw(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            written.extend(data)
            return len(data)

    class Buffered(io.BufferedWriter):
        def write(self, data: Any) -> int:
            is_ending.wait(10)
            return super().write(data)

    stream = Buffered(Raw())
    log = AccessLog(stream, sample=1.0, client=FULL.client, network=FULL.network)
    log.observe("s", [encode(request())] * 2, Sums())
    log.close(within=0.0)
    is_ending.set()
    log.close()
    assert written.count(b"\n") == 2


def test_a_reader_that_never_reads_costs_lines_and_no_time() -> None:
    gate = threading.Event()

    class Stuck(io.BytesIO):
        def write(self, data: object) -> int:
            gate.wait(10)
            return 0

    log = AccessLog(Stuck(), sample=1.0, client=FULL.client, network=FULL.network)
    log.observe("s", [encode(request())] * 11_000, Sums())
    assert 990 <= log.dropped <= 1000
    gate.set()
    log.close()


def test_a_closed_reader_is_survived() -> None:
    stream = io.BytesIO()
    log = AccessLog(stream, sample=1.0, client=FULL.client, network=FULL.network)
    stream.close()
    log.observe("s", [encode(request())] * 3, Sums())
    log.close()
    assert log.dropped == 3


def test_the_manual_names_every_field() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text[text.index("| in a line of the access log |") : text.index("- **journald**")]
    named = [name for row in table.splitlines()[2:-1] for name in re.findall(r"`([\w.]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(line(request(), FULL.client, FULL.network))


def test_the_manual_tells_what_the_values_of_a_call_mean() -> None:
    page = (ROOT / "docs" / "admin-api.md").read_text(encoding="utf-8")
    for member, values in (("ending", Ending), ("usage_source", UsageSource)):
        (row,) = re.findall(rf"^\| `{member}` \| .*$", page, re.MULTILINE)
        assert [value for value in get_args(values) if not re.search(rf"\b{value}\b", row)] == []


STUCK = """
from sidecar.control.totals.sums import Sums
from sidecar.control.metering import _access_log
from sidecar.settings import Settings
from tests.control.test_access_log import FULL, encode, request
log = _access_log(Settings(), FULL)
log.observe("s", [encode(request())] * 1000, Sums())
log.close(0.1)
"""


def test_a_reader_that_has_stopped_does_not_disturb_the_end_of_the_process() -> None:
    reading, writing = os.pipe()
    # Without a buffer, as our unit and image have it, there would be nothing to flush.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", STUCK]
    try:
        ended = subprocess.run(command, cwd=ROOT, env=buffered, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
