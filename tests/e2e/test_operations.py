"""What docs/operations.md tells an operator to do, done: backup and restore, a lost store, changed secrets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from sidecar.demo.access_key import ACCESS_KEY
from tests.support.documents import blocks
from tests.support.hub import HubProcess
from tests.support.sidecar import Sidecar, call, wait_until
from tests.support.source import ROOT
from tests.support.store import Server, open_store
from tests.support.tools import require

SOON = 60.0


def command(sidecar: Sidecar, *words: str) -> subprocess.CompletedProcess[str]:
    """`sidecar …` with the environment of `sidecar`."""
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *words], env=_environment(sidecar), capture_output=True, text=True, timeout=60, check=False
    )


def _environment(sidecar: Sidecar) -> dict[str, str]:
    return sidecar.environment | {"PYTHONPATH": str(ROOT), "SIDECAR_ADMIN_URL": sidecar.admin_url}


ARCHIVES = ("data-dir.tar.gz", "secrets.tar.gz")


def run_pasted(sidecar: Sidecar, words: str, cwd: Path) -> None:
    """The block of the page that has these words, with `data_dir` where it lies here; what belongs to a system's service is left out."""
    (text,) = [block.text for block in blocks(ROOT / "docs" / "operations.md") if words in block.text]
    lines = [line for line in text.splitlines() if not line.startswith(("systemctl", "install", "chown"))]
    program = "\n".join(lines).replace("hub-auth-sidecar", sidecar.data_dir.name).replace("/var/lib", str(sidecar.data_dir.parent))
    command = [require("bash", install="apt-get install bash"), "-ec", program]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def contents(archived: Path) -> set[str]:
    """The names of the files in it, without their directory."""
    with tarfile.open(archived) as opened:
        return {Path(name).name for name in opened.getnames()}


def test_a_backup_of_the_embedded_store_comes_back(hub: HubProcess, tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    with sidecar:
        kept_id, kept = sidecar.create_key(name="kept")
        lost_id, lost = sidecar.create_key(name="revoked later")
        left, leaver = (sidecar.admin("POST", "/admin-tokens", {"name": name, "role": "admin"}).json for name in ("stays", "leaves"))
        assert sidecar.ask(kept).status == 200
        wait_until(lambda: sidecar.metric("sidecar_key_requests_total", key_id=kept_id, outcome="ok") == 1, within=SOON)
    (sidecar.data_dir / "pepper.before").write_text("of a change that is going on")
    run_pasted(sidecar, "-czf data-dir.tar.gz", tmp_path)
    with_store, secrets = (contents(tmp_path / name) for name in ARCHIVES)
    assert secrets == {"pepper", "pepper.before", "admin-token"}
    assert not with_store & (secrets | {"lock"}), "whoever has the store's copy has no pepper"
    assert {"store", "instance-id", "store-epoch"} <= with_store
    with sidecar:
        assert sidecar.admin("POST", f"/keys/{lost_id}/revoke").status == 200
        # By the one that stays: who acted is in the record too, and must not be taken for who was revoked.
        by = {"Authorization": f"Bearer {left['token']}"}
        address = f"{sidecar.admin_url}/admin/v1/admin-tokens/{leaver['admin_token']['id']}"
        assert call("DELETE", address, headers=by).status in (200, 204)
        exported = command(sidecar, "audit", "export").stdout
    run_pasted(sidecar, "-xzf secrets.tar.gz", tmp_path)
    with sidecar:
        assert sidecar.ask(kept).status == 200
        assert json.loads(sidecar.admin("GET", f"/keys/{kept_id}").body)["key"]["name"] == "kept"
        assert command(sidecar, "audit", "verify").returncode == 0
        # As the page warns: what was revoked since is forgotten, and the audit log of the day before says what that was.
        assert sidecar.ask(lost).status == 200
        assert is_admin(sidecar, leaver)
        (tmp_path / "audit-2026-01-31.jsonl").write_text(exported)
        (pasted,) = [block.text for block in blocks(ROOT / "docs" / "operations.md") if "> forgotten" in block.text]
        program = f'sidecar() {{ "{sys.executable}" -m sidecar "$@"; }}\n{pasted}'
        bash = require("bash", install="apt-get install bash")
        done = subprocess.run(
            [bash, "-c", program], env=_environment(sidecar), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, (tmp_path / "forgotten").read_text()) == (0, f"{lost_id}\n"), done.stderr
        wait_until(lambda: sidecar.ask(lost).status == 401, within=SOON)
        assert sidecar.ask(kept).status == 200
        assert not is_admin(sidecar, leaver)
        assert is_admin(sidecar, left)


def test_a_data_dir_that_was_kept_revokes_again_what_the_restored_store_has_forgotten(hub: HubProcess, tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    with sidecar:
        kept_id, kept = sidecar.create_key(name="kept")
        lost_id, lost = sidecar.create_key(name="revoked later")
        assert sidecar.ask(kept).status == sidecar.ask(lost).status == 200
    run_pasted(sidecar, "-czf data-dir.tar.gz", tmp_path)
    with sidecar:
        assert sidecar.admin("POST", f"/keys/{lost_id}/revoke").status == 200
    run_pasted(sidecar, "rm -rf /var/lib/hub-auth-sidecar/store", tmp_path)
    with sidecar:
        assert (sidecar.ask(kept).status, sidecar.ask(lost).code) == (200, "api_key_revoked")
        wait_until(lambda: sidecar.admin("GET", f"/keys/{kept_id}/usage").json["totals"]["requests"] == 2, within=SOON)


def is_admin(sidecar: Sidecar, made: dict[str, Any]) -> bool:
    """Whether the token that the admin API made opens it."""
    return call("GET", f"{sidecar.admin_url}/admin/v1/keys", headers={"Authorization": f"Bearer {made['token']}"}).status == 200


def test_a_lost_store_is_a_503_until_it_is_adopted(hub: HubProcess, tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    with sidecar:
        _, secret = sidecar.create_key()
    shutil.rmtree(sidecar.data_dir / "store")
    sidecar.start(wait=False)
    try:
        wait_until(lambda: call("GET", f"{sidecar.metrics_url}/livez").status == 200, within=SOON)
        wait_until(lambda: sidecar.ask(secret).code == "key_store_unavailable", within=SOON)
        assert call("GET", f"{sidecar.metrics_url}/readyz").status == 503
        adopted = command(sidecar, "store", "adopt")
        assert adopted.returncode == 0, adopted.stderr
        wait_until(sidecar.is_ready, within=SOON)
        wait_until(lambda: sidecar.ask(secret).code == "invalid_api_key", within=SOON)
        # The first admin token works on the new store at once.
        wait_until(lambda: sidecar.admin("POST", "/keys", {"name": "new"}).status == 201, within=SOON)
    finally:
        sidecar.stop()


def test_a_store_that_is_emptied_under_a_running_sidecar_is_adopted_without_a_restart(
    hub: HubProcess, tmp_path: Path, valkey: Server
) -> None:
    async def empty() -> None:
        store = await open_store(valkey, timeout=5.0)
        try:
            await store.call("FLUSHALL")
        finally:
            await store.close()

    with Sidecar(tmp_path, hub.url, ACCESS_KEY, store__url=valkey.url) as sidecar:
        _, secret = sidecar.create_key()
        asyncio.run(empty())
        wait_until(lambda: call("GET", f"{sidecar.metrics_url}/readyz").status == 503, within=SOON)
        adopted = command(sidecar, "store", "adopt")
        assert adopted.returncode == 0, adopted.stderr
        wait_until(sidecar.is_ready, within=SOON)
        wait_until(lambda: sidecar.admin("POST", "/keys", {"name": "new"}).status == 201, within=SOON)
        wait_until(lambda: sidecar.ask(secret).code == "invalid_api_key", within=SOON)


def test_another_access_key_of_the_hub_is_taken_over_by_a_reload(hub: HubProcess, tmp_path: Path) -> None:
    file = tmp_path / "hub-access-key"
    file.write_text("blocklet-expired\n")
    sidecar = Sidecar(tmp_path, hub.url, "")
    del sidecar.environment["SIDECAR_HUB__ACCESS_KEY"]
    sidecar.environment["SIDECAR_HUB__ACCESS_KEY_FILE"] = str(file)
    with sidecar:
        _, secret = sidecar.create_key()
        refused = sidecar.ask(secret)
        assert (refused.status, refused.code) == (502, "hub_rejected_credential")
        file.write_text(ACCESS_KEY + "\n")
        assert sidecar.process is not None
        os.kill(sidecar.process.pid, signal.SIGHUP)
        wait_until(lambda: sidecar.ask(secret).status == 200, within=SOON)


def test_a_new_first_admin_token_where_all_are_lost(hub: HubProcess, tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, hub.url, ACCESS_KEY)
    with sidecar:
        old = sidecar.admin_token
        (first,) = sidecar.admin("GET", "/admin-tokens").json["data"]
        other = sidecar.admin("POST", "/admin-tokens", {"name": "other", "role": "admin"}).json["token"]
        fields = {"Authorization": f"Bearer {other}"}
        assert call("DELETE", f"{sidecar.admin_url}/admin/v1/admin-tokens/{first['id']}", headers=fields).status in (200, 204)
    with sidecar:
        assert sidecar.admin_token == old
        assert sidecar.admin("GET", "/keys").status == 401
    (sidecar.data_dir / "admin-token").unlink()
    with sidecar:
        assert sidecar.admin_token != old
        assert sidecar.admin("GET", "/keys").status == 200


def test_a_restore_does_not_bring_back_the_token_of_the_file(hub: HubProcess, tmp_path: Path) -> None:
    """It was made since the backup and revoked since: the restored store knows nothing of it, and the file is still there."""
    sidecar, saved = Sidecar(tmp_path, hub.url, ACCESS_KEY), tmp_path / "saved"
    with sidecar:
        alice = sidecar.admin("POST", "/admin-tokens", {"name": "alice", "role": "admin"}).json
    shutil.copytree(sidecar.data_dir / "store", saved, ignore=shutil.ignore_patterns("*.sock"))
    (sidecar.data_dir / "admin-token").unlink()
    by = {"Authorization": f"Bearer {alice['token']}"}
    with sidecar:
        first = sidecar.admin("GET", "/admin-tokens").json["data"][-1]
        assert first["name"] == "first"
        assert call("DELETE", f"{sidecar.admin_url}/admin/v1/admin-tokens/{first['id']}", headers=by).status in (200, 204)
    shutil.rmtree(sidecar.data_dir / "store")
    saved.rename(sidecar.data_dir / "store")
    shutil.rmtree(sidecar.data_dir / "spool")
    with sidecar:
        assert is_admin(sidecar, alice)
        assert sidecar.admin("GET", "/keys").status == 401
