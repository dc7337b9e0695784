"""The commands of docs/operations.md that move a store, a data_dir or a certificate to another place, as they stand there."""

from __future__ import annotations

import re
import shutil
import signal
import ssl
import subprocess
from pathlib import Path

from sidecar.demo.access_key import ACCESS_KEY
from tests.support.certificates import LOCAL, self_signed
from tests.support.documents import blocks
from tests.support.hub import HubProcess
from tests.support.ports import free_port
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.source import ROOT
from tests.support.store import Server
from tests.support.tools import require

SOON = 60.0
SERVICE = "/var/lib/hub-auth-sidecar"
VALKEY = "/var/lib/valkey"
NOT_HERE = "systemctl() { :; }\nchown() { :; }\n"
"""The tests are no system's service, and what they make is theirs already."""
CONTAINERS = """
docker() { if [ "$2" = run ]; then local program="$7"; shift 8; "$program" "$@"; fi; }
"""
"""`docker compose run … --entrypoint PROGRAM SERVICE ARGUMENTS` runs the program here; the rest stops and starts."""


def pasted(words: str) -> str:
    """The one block of the page that has these words."""
    (text,) = [block.text for block in blocks(ROOT / "docs" / "operations.md") if words in block.text]
    return text


def run(program: str, cwd: Path) -> None:
    bash = require("bash", install="apt-get install bash")
    done = subprocess.run([bash, "-ec", program], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def with_one_call(sidecar: Sidecar) -> tuple[str, str]:
    """A key that was used once, and its use is in the store."""
    key_id, secret = sidecar.create_key(name="moved")
    assert sidecar.ask(secret).status == 200
    wait_until(lambda: usage(sidecar, key_id) == 1, within=SOON)
    return key_id, secret


def usage(sidecar: Sidecar, key_id: str) -> int:
    return int(sidecar.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"])


def test_the_service_takes_the_keys_of_the_trial_along(hub: HubProcess, tmp_path: Path) -> None:
    trial, service = tmp_path / "checkout", tmp_path / "service"
    trial.mkdir()
    service.mkdir()
    with Sidecar(trial, hub.url, ACCESS_KEY) as sidecar:
        key_id, secret = with_one_call(sidecar)
    begins = Sidecar(service, hub.url, ACCESS_KEY)
    program = pasted("cp -a data/.").replace(SERVICE, str(begins.data_dir)).replace(" -o sidecar -g sidecar", "")
    run(NOT_HERE + program, trial)
    with begins:
        assert begins.ask(secret).status == 200
        wait_until(lambda: usage(begins, key_id) == 2, within=SOON)


def test_another_store_by_the_files_of_the_embedded_one(hub: HubProcess, tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    with sidecar:
        key_id, secret = with_one_call(sidecar)
    server = Server(tmp_path / "valkey")
    sidecar.environment["SIDECAR_STORE__URL"] = server.url
    server.start()
    try:
        # As the page warns: the address alone leads before an empty store.
        sidecar.start(wait=False)
        try:
            wait_until(lambda: b"another one than before" in call("GET", f"{sidecar.metrics_url}/readyz").body, within=SOON)
            wait_until(lambda: sidecar.ask(secret).code == "key_store_unavailable", within=SOON)
        finally:
            sidecar.stop()
        server.kill()
        shutil.rmtree(server.directory / "appendonlydir")
        program = pasted("store/appendonlydir /var/lib/valkey/")
        run(NOT_HERE + program.replace(SERVICE, str(sidecar.data_dir)).replace(VALKEY, str(server.directory)), tmp_path)
        server.start()
        with sidecar:
            assert sidecar.ask(secret).status == 200
            wait_until(lambda: usage(sidecar, key_id) == 2, within=SOON)
    finally:
        server.close()


def test_an_rdb_file_comes_back_with_append_only_files(tmp_path: Path) -> None:
    lost, again = Server(tmp_path / "lost"), Server(tmp_path / "again")
    lost.start()
    lost.command("SET", "key", "value")
    lost.command("SAVE")
    lost.close()
    shutil.copy(lost.directory / "dump.rdb", again.directory)
    again.start()
    # As the page warns: it does not look at the file.
    assert again.command("DBSIZE") == b":0\r\n"
    again.kill()
    shutil.rmtree(again.directory / "appendonlydir")
    client = require("valkey-cli", "redis-cli", install="apt-get install redis-tools")
    programs = f'valkey-server() {{ "{again.binary}" "$@"; }}\nvalkey-cli() {{ "{client}" "$@"; }}\n'
    program = pasted("CONFIG SET appendonly yes").replace("6379", str(free_port())).replace(VALKEY, str(again.directory))
    run(programs + program, tmp_path)
    again.start()
    try:
        assert again.command("GET", "key") == b"$5\r\nvalue\r\n"
    finally:
        again.close()


def in_containers(program: str, sidecar: Sidecar, server: Server) -> str:
    """The program with the volumes of the containers where they lie here."""
    program = re.sub(r"(?<= )/data(?=[ /])", str(server.directory), program)
    return NOT_HERE + CONTAINERS + program.replace("/var/lib/sidecar", str(sidecar.data_dir))


def test_backup_and_restore_with_compose(hub: HubProcess, tmp_path: Path) -> None:
    server = Server(tmp_path / "valkey")
    server.start()
    try:
        sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY, store__url=server.url)
        with sidecar:
            key_id, secret = with_one_call(sidecar)
        server.kill()
        (sidecar.data_dir / "pepper.before").write_text("of a change that is going on")
        run(in_containers(pasted("> store.tar.gz"), sidecar, server), tmp_path)
        before = {file.name for file in sidecar.data_dir.iterdir()}
        for directory in (server.directory, sidecar.data_dir):
            shutil.rmtree(directory)
            directory.mkdir(mode=0o700)
        run(in_containers(pasted("< store.tar.gz"), sidecar, server), tmp_path)
        assert {file.name for file in sidecar.data_dir.iterdir()} == before - {"lock"}
        server.start()
        with sidecar:
            assert sidecar.ask(secret).status == 200
            wait_until(lambda: usage(sidecar, key_id) == 2, within=SOON)
    finally:
        server.close()


def test_a_renewed_certificate_is_served_after_a_reload(hub: HubProcess, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, *LOCAL)
    files = {"tls__certificate_file": str(certificate), "tls__key_file": str(key)}
    settings = {f"{listener}__{name}": file for listener in ("proxy", "admin") for name, file in files.items()}
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, **settings) as sidecar:
        addresses = [("127.0.0.1", int(url.rpartition(":")[2])) for url in (sidecar.url, sidecar.admin_url)]
        old = certificate.read_text()
        assert [ssl.get_server_certificate(address) for address in addresses] == [old, old]
        self_signed(tmp_path, *LOCAL)
        new = certificate.read_text()
        assert [ssl.get_server_certificate(address) for address in addresses] == [old, old]
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGHUP)
        wait_until(lambda: [ssl.get_server_certificate(address) for address in addresses] == [new, new], within=SOON)
