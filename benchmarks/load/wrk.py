"""Load by wrk: one thread, pinned, as many requests as the proxy takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cores import pinned
from benchmarks.load.request import Request
from benchmarks.load.wire import raw_request

CONNECTIONS = 32
INSTALL = "wrk is not installed; Debian has it as the package wrk"
HOST = "gateway.example"
MARK = "RESULT "

_DONE = f"""
done = function(summary, latency, requests)
  local e = summary.errors
  local result = '{{"requests": %d, "seconds": %.6f, "bytes": %d, "refused": %d, "failed": %d, "p50": %.1f, "p99": %.1f}}'
  local failed = e.connect + e.read + e.write + e.timeout
  io.write("\\n{MARK}", string.format(result, summary.requests, summary.duration / 1e6, summary.bytes, e.status, failed,
    latency:percentile(50), latency:percentile(99)), "\\n")
end
"""
# Made beforehand and read from a file: a Lua function has no more than 65,536 constants, and formatting takes its time.
_IN_TURN = """
local made, next_made = {{}}, 0
init = function(arguments)
  local file = assert(io.open("{path}", "rb"))
  for _ = 1, {count} do made[#made + 1] = file:read({size}) end
  file:close()
end
request = function()
  next_made = next_made % #made + 1
  return made[next_made]
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw. `refused` counts statuses of 400 and above, `failed` broken connections; percentiles are in microseconds."""

    requests: int
    seconds: float
    bytes: int
    refused: int
    failed: int
    p50: float
    p99: float


def is_missing() -> str:
    """Why there is no load, or nothing."""
    return "" if shutil.which("wrk") else INSTALL


def script(request: Request, body_file: Path, requests_file: Path) -> str:
    """The Lua text that makes wrk send `request`, whose body, or the requests with all its keys, are in a file by then."""
    first, *others = request.keys
    if others:
        return _IN_TURN.format(path=requests_file, count=len(request.keys), size=len(raw_request(request, first, HOST))) + _DONE
    lines = [f'wrk.method = "{request.method}"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers(first).items()]
    if request.body:
        lines += [f'local file = assert(io.open("{body_file}", "rb"))', 'wrk.body = file:read("*a")', "file:close()"]
    return "\n".join(lines) + _DONE


def made_of_one_size(request: Request) -> list[bytes]:
    """The bytes of the request with each of its keys. Raises ValueError when they differ in length."""
    made = [raw_request(request, key, HOST) for key in request.keys]
    if len({len(one) for one in made}) > 1:
        raise ValueError("keys that are sent in turn must be of one length")
    return made


def run(request: Request, url: str, seconds: float, cores: tuple[int, ...], directory: Path, connections: int = CONNECTIONS) -> Load:
    """Send `request` to the server at `url` for `seconds`. Raises RuntimeError when wrk cannot."""
    directory.mkdir(parents=True, exist_ok=True)
    body_file, requests_file, script_file = directory / "body", directory / "requests", directory / "load.lua"
    body_file.write_bytes(request.body)
    if len(request.keys) > 1:
        requests_file.write_bytes(b"".join(made_of_one_size(request)))
    script_file.write_text(script(request, body_file, requests_file))
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "10s",
        "-s",
        str(script_file),
        url + request.target,
    ]
    done = subprocess.run(pinned(cores, *command), capture_output=True, text=True, timeout=seconds + 60, check=False)
    return parse(done.stdout, done.stderr)


def parse(output: str, errors: str = "") -> Load:
    """Read what the script's last line says."""
    found = re.search(rf"^{MARK}(.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk gave no result: {(output + errors)[-500:]}")
    return Load(**json.loads(found[1]))
