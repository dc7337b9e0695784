"""That the parts know each other, as the process has them."""

from __future__ import annotations

from pathlib import Path

from sidecar.control.audit import JOURNAL_DIRECTORY
from sidecar.keys.adoption import Adoption
from sidecar.keys.digest import load
from sidecar.store import names
from sidecar.store.client import Store
from tests.control.test_process import Control, become_alive, become_ready
from tests.support.store import Server
from tests.support.waiting import until


async def test_what_a_failover_brings_back_is_revoked_again(tmp_path: Path, valkey: Server, store: Store) -> None:
    control = Control(tmp_path / "data", valkey.url)
    control.start()
    try:
        await become_alive(control)
        await become_ready(control, control.spool())
        key = (await control.admin("POST", "/keys", {"name": "app"}))[1]["key"]
        token = (await control.admin("POST", "/admin-tokens", {"name": "leaver", "role": "admin"}))[1]["admin_token"]
        before = {name: await store.call("DUMP", name) for name in (names.ADMIN_TOKENS, names.key(key["id"]))}
        assert (await control.admin("POST", f"/keys/{key['id']}/revoke"))[0] == 200
        assert (await control.admin("DELETE", f"/admin-tokens/{token['id']}"))[0] == 200
        for name, dump in before.items():
            await store.call("RESTORE", name, 0, dump, "REPLACE")
        listed = (await control.admin("GET", "/admin-tokens"))[1]["data"]
        assert token["id"] in [one["id"] for one in listed]
        # That the store was away is what a failover looks like from here; it comes back with what it has.
        valkey.kill()

        async def noticed() -> bool:
            return "store" in (await control.get("/readyz"))[1]

        await until(noticed)
        valkey.start()

        async def repeated() -> bool:
            (listing, tokens), (found, shown) = (
                await control.admin("GET", "/admin-tokens"),
                await control.admin("GET", f"/keys/{key['id']}"),
            )
            if (listing, found) != (200, 200):
                return False
            return token["id"] not in [one["id"] for one in tokens["data"]] and shown["key"]["status"] == "revoked"

        await until(repeated)
    finally:
        control.close()


async def test_who_adopts_a_new_store_gets_in_though_the_first_admin_token_was_revoked(
    tmp_path: Path, valkey: Server, store: Store
) -> None:
    control = Control(tmp_path / "data", valkey.url)
    control.start()
    try:
        await become_alive(control)
        await become_ready(control, control.spool())
        file = control.data_dir / "admin-token"
        revoked = file.read_bytes()
        (first,) = (await control.admin("GET", "/admin-tokens"))[1]["data"]
        assert (await control.admin("POST", "/admin-tokens", {"name": "alice", "role": "admin"}))[0] == 201
        assert (await control.admin("DELETE", f"/admin-tokens/{first['id']}"))[0] == 200
        await store.call("FLUSHALL")

        async def noticed() -> bool:
            return "store" in (await control.get("/readyz"))[1]

        await until(noticed)
        await Adoption(control.data_dir / "store-epoch", load(control.data_dir / "pepper")).adopt(store)

        async def let_in() -> bool:
            return (await control.admin("GET", "/admin-tokens"))[0] == 200

        await until(let_in)
        assert file.read_bytes() != revoked
    finally:
        control.close()


async def test_a_failed_sign_in_leaves_nothing_in_a_store_that_is_not_the_known_one(tmp_path: Path, valkey: Server, store: Store) -> None:
    control = Control(tmp_path / "data", valkey.url)
    control.start()
    try:
        await become_alive(control)
        await become_ready(control, control.spool())
        await store.call("FLUSHALL")

        async def noticed() -> bool:
            return "empty or another one" in (await control.get("/readyz"))[1]

        await until(noticed)
        (control.data_dir / "admin-token").write_text("guessed")
        assert (await control.admin("GET", "/keys"))[0] == 401

        def is_kept() -> bool:
            return bool(list((control.data_dir / JOURNAL_DIRECTORY).glob("*.event")))

        await until(is_kept)
        assert not await store.call("EXISTS", names.AUDIT)
    finally:
        control.close()
