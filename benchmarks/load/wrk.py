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

CONNECTIONS = 32
INSTALL = "wrk is not installed; Debian has it as the package wrk"
MARK = "RESULT "

_DONE = f"""
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{MARK}{{"requests": %d, "seconds": %.6f, "bytes": %d, "refused": %d, "failed": %d, "p50": %.1f, "p99": %.1f}}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""
# From a file, since a Lua function has no more than 65,536 constants.
_IN_TURN = """
local made, next_made = {{}}, 0
init = function(arguments)
  for key in io.lines("{path}") do
    wrk.headers["Authorization"] = "Bearer " .. key
    made[#made + 1] = wrk.format()
  end
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


def script(request: Request, body_file: Path, keys_file: Path) -> str:
    """The Lua text that makes wrk send `request`, whose body and keys are in files by then."""
    first, *others = request.keys
    lines = [f'wrk.method = "{request.method}"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers(first).items()]
    if request.body:
        lines += [f'local file = assert(io.open("{body_file}", "rb"))', 'wrk.body = file:read("*a")', "file:close()"]
    if others:
        lines.append(_IN_TURN.format(path=keys_file))
    return "\n".join(lines) + _DONE


def run(request: Request, url: str, seconds: float, cores: tuple[int, ...], directory: Path, connections: int = CONNECTIONS) -> Load:
    """Send `request` to the server at `url` for `seconds`. Raises RuntimeError when wrk cannot."""
    directory.mkdir(parents=True, exist_ok=True)
    body_file, keys_file, script_file = directory / "body", directory / "keys", directory / "load.lua"
    body_file.write_bytes(request.body)
    keys_file.write_text("\n".join(request.keys))
    script_file.write_text(script(request, body_file, keys_file))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(script_file), url + request.target]
    done = subprocess.run(pinned(cores, *command), capture_output=True, text=True, timeout=seconds + 60, check=False)
    return parse(done.stdout, done.stderr)


def parse(output: str, errors: str = "") -> Load:
    """Read what the script's last line says."""
    found = re.search(rf"^{MARK}(.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk gave no result: {(output + errors)[-500:]}")
    return Load(**json.loads(found[1]))
