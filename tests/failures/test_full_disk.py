"""A disk that is really full: data_dir is a small tmpfs, and the kernel refuses what no longer fits."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.control.workers import FRESH
from sidecar.worker.process import COMPLAINT_INTERVAL
from tests.failures.logs import assert_clean
from tests.failures.test_process import Confined
from tests.support.raw_hub import RawHubProcess, raw_hub_process
from tests.support.sidecar import wait_until
from tests.support.store import Server
from tests.support.tools import missing, require

PATIENCE = 60.0
SIZE = 3 << 20
LOST = re.compile(r"(\d+) events were lost")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RawHubProcess]:
    directory = tmp_path / "hub"
    directory.mkdir()
    with raw_hub_process(directory) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    """Outside of the full disk: what is lost is what the spool could not take, nothing else."""
    server = Server(tmp_path / "store", tcp=True)
    server.start()
    yield server
    server.close()


def namespace() -> list[str]:
    """How a command is run with mounts of its own: as root at once, as anybody else with a user namespace where that is allowed."""
    unshare = require("unshare", install="apt-get install util-linux")
    for command in ([unshare, "--mount"], [unshare, "--user", "--map-root-user", "--mount"]):
        tried = subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
        if tried.returncode == 0:
            return command
    missing("the right to mount", "run as root, or allow user namespaces")
    raise AssertionError


class OnSmallDisk(Confined):
    """A sidecar whose data_dir only its own processes see."""

    @property
    def inside(self) -> Path:
        """data_dir as the sidecar sees it."""
        return Path(f"/proc/{self.children('control')[0]}/root{self.data_dir}")

    @property
    def admin_token(self) -> str:
        return (self.inside / "admin-token").read_text().strip()

    def fill(self) -> None:
        """Leave not one byte."""
        with (self.inside / "ballast").open("wb", buffering=0) as ballast:
            for size in (4096, 1):
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(size)):
                        pass

    def counted(self, key_id: str) -> int:
        """Served requests by the usage API."""
        return int(self.admin("GET", f"/keys/{key_id}/usage").json["totals"]["requests"])


def test_what_does_not_fit_is_counted_as_lost_and_said_once(hub: RawHubProcess, store: Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    wrapper = [*namespace(), "sh", "-c", f'mount -t tmpfs -o size={SIZE},mode=700 none "{data}" && exec "$@"', "sh"]
    settings = {"store__url": store.url, "spool__segment_bytes": "64KiB", "spool__max_bytes": "100MiB"}
    with OnSmallDisk(tmp_path, hub.url, wrapper, **settings) as sidecar:
        key_id, secret = sidecar.create_key()
        statuses = Counter(sidecar.ask(secret, "/v1/x", {}).status for _ in range(20))
        wait_until(lambda: sidecar.counted(key_id) == 20, within=PATIENCE)

        began = time.monotonic()
        sidecar.fill()
        # Well beyond what is left in the page that the segment has begun.
        statuses.update(sidecar.ask(secret, "/v1/x", {}).status for _ in range(200))
        assert statuses == {200: 220}, "a full disk is no reason to refuse"
        # The workers serve, though none of them can report any more.
        wait_until(lambda: time.monotonic() > began + 2 * FRESH, within=PATIENCE)
        assert sidecar.is_ready()
        wait_until(lambda: LOST.search(sidecar.log.read_text()), within=PATIENCE, what="a word in the log")
        (sidecar.inside / "ballast").unlink()

        # There is room again: from the first event that is kept on, none is lost.
        def kept() -> bool:
            before = sidecar.counted(key_id)
            statuses[sidecar.ask(secret, "/v1/x", {}).status] += 1
            with contextlib.suppress(AssertionError):
                return bool(wait_until(lambda: sidecar.counted(key_id) > before, within=5))
            return False

        wait_until(kept, within=PATIENCE, what="use is counted again")
        before = sidecar.counted(key_id)
        statuses.update(sidecar.ask(secret, "/v1/x", {}).status for _ in range(50))
        wait_until(lambda: sidecar.counted(key_id) >= before + 50, within=PATIENCE, what="use is counted again")

        served = statuses.total()
        assert statuses == {200: served}

        wait_until(lambda: sidecar.metric("sidecar_metering_pending_bytes") == 0, within=PATIENCE)

        def is_accounted_for() -> bool:
            kept = sidecar.counted(key_id)
            lost = served - kept
            # A worker's own record of each second finds no room either, and is told too.
            is_told = lost <= sidecar.metric("sidecar_spool_dropped_total") <= lost + time.monotonic() - began + 1
            return is_told and sidecar.metric("sidecar_key_requests_total", key_id=key_id) == kept

        wait_until(is_accounted_for, within=PATIENCE, what="each request counted, or told to be lost")
        assert served - sidecar.counted(key_id) > 100, "the disk was not full"
        told = len(LOST.findall(sidecar.log.read_text()))
        assert told <= 1 + (time.monotonic() - began) // COMPLAINT_INTERVAL, "said once in half a minute, however many were lost"
        assert_clean(sidecar)
