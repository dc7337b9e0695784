"""The compiled build, as the image has it: the same answers and the same figures as from the source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import HOT
from tests.support.dockerfile import build_locks
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar, wait_until
from tests.support.source import ROOT
from tests.support.tools import missing, require

STREAMED = {"stream": True, "model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as the image has it: compiled by nothing but what the first stage of the Dockerfile installs."""
    require("gcc", install="apt-get install gcc")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing("Python.h", "apt-get install python3-dev")
    folder = tmp_path_factory.mktemp("compiled")
    venv.create(folder / "build")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    builder = [*pip, "--python", folder / "build" / "bin" / "python"]
    locks = [word for lock in build_locks(ROOT / "Dockerfile") for word in ("-r", lock)]
    subprocess.run([*builder, "install", "--require-hashes", "--only-binary", ":all:", "--no-compile", *locks], check=True)
    build = [*builder, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    subprocess.run(build, env=os.environ | {"SIDECAR_COMPILE": "quick"}, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    assert "-cp3" in wheel.name
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def sidecar(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    directory = tmp_path_factory.mktemp("sidecar")
    with hub_process() as hub:
        sidecar = Sidecar(directory, hub.url, ACCESS_KEY)
        sidecar.environment |= {"PYTHONPATH": str(compiled), "PYTHONSAFEPATH": "1"}
        with sidecar:
            yield sidecar
    assert "Traceback" not in sidecar.log.read_text()


def test_nothing_is_awaited_while_an_exception_is_handled() -> None:
    """mypyc keeps what is being handled with the thread, not with the coroutine.

    Whatever runs meanwhile is raised on top of it; two that end in another order than they began leave it there for
    good, and each further exception of the process drags a longer chain along.
    """
    found = [
        f"{path.relative_to(ROOT)}:{inner.lineno}"
        for pattern in HOT
        for path in sorted(ROOT.glob(pattern))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Try)
        for statement in [*(line for handler in node.handlers for line in handler.body), *node.finalbody]
        for inner in ast.walk(statement)
        if isinstance(inner, ast.Await | ast.Yield | ast.YieldFrom | ast.AsyncFor | ast.AsyncWith)
    ]
    assert found == []


def test_workers_and_control_process_run_compiled_code(sidecar: Sidecar) -> None:
    for role in ("worker", "control"):
        (pid,) = sidecar.children(role)
        assert "hub_auth_sidecar__mypyc" in Path(f"/proc/{pid}/maps").read_text()


def test_what_the_hub_says_of_use_is_read(sidecar: Sidecar) -> None:
    """What msgspec decodes into must not be compiled: it would decode nothing and say so nowhere."""
    key_id, secret = sidecar.create_key()
    assert sidecar.ask(secret).status == 200
    streamed = sidecar.ask(secret, "/api/v2/chat/completions", STREAMED, Accept="text/event-stream")
    assert streamed.status == 200 and b"data:" in streamed.body
    assert sidecar.ask(secret, "/api/v2/image", {"model": "openai/gpt-image-1", "prompt": "a cat", "n": 1}).status == 200

    def counted() -> dict[str, float]:
        totals: dict[str, float] = sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]
        return totals if totals["requests"] == 3 else {}

    totals = wait_until(counted, what="the count")
    assert totals["input_tokens"] > 0 and totals["output_tokens"] > 0 and totals["images"] == 1


def test_keys_are_judged(sidecar: Sidecar) -> None:
    key_id, secret = sidecar.create_key(allowed_models=["openai/*"], limits={"rpm": 2})
    other = {"input": {"messages": [], "modelOptions": {"model": "google/gemini"}}}
    assert sidecar.ask(secret, body=other).code == "model_not_allowed"
    assert [sidecar.ask(secret).status for _ in range(3)] == [200, 200, 429]
    assert sidecar.ask("ahk_none").code == "invalid_api_key"
    assert sidecar.ask(secret, "/api/v2/../user").code == "invalid_request"
    assert sidecar.admin("POST", f"/keys/{key_id}/revoke").status == 200
    wait_until(lambda: sidecar.ask(secret).status == 401, within=2, what="the revocation")


def test_a_restart_goes_on_where_it_was(sidecar: Sidecar) -> None:
    """What comes back from the store has the types that compiled code insists on."""
    key_id, secret = sidecar.create_key(limits={"tpm": 100_000}, quota={"requests": 1000, "period": "day"})

    def counted() -> list[float]:
        models = sidecar.metric("sidecar_model_requests_total", model="openai/gpt-5-mini")
        durations = sidecar.metric("sidecar_http_request_duration_seconds_count", status_class="2xx")
        return [sidecar.metric("sidecar_key_requests_total", key_id=key_id), models, durations]

    assert sidecar.ask(secret).status == 200
    # Counted in order: with this one, whatever the tests before have asked is counted too.
    wait_until(lambda: counted()[0] == 1, what="the count")
    before = counted()
    assert sidecar.stop() == 0
    sidecar.start()
    wait_until(lambda: counted() == before, what="the counts of before")
    assert sidecar.ask(secret).status == 200
    wait_until(lambda: counted() == [count + 1 for count in before], what="the count")
