"""Nothing that a client saw finished is lost and nothing is counted twice, whatever process is killed."""

from __future__ import annotations

import os
import random
import re
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.support.hub import ACCESS_KEY, HubProcess
from tests.support.load import Load
from tests.support.sidecar import Sidecar, wait_until

ROUNDS = int(os.environ.get("SIDECAR_TEST_CRASH_ROUNDS", "6"))
"""More by `make crash-test`."""
BUSY = 30.0
"""Seconds that a loaded machine may take."""


ATTRIBUTION = re.compile(r"x-aigne-hub-client-did: (key_\w+)@sidecar", re.IGNORECASE)


def seen_by(hub: HubProcess) -> Counter[str]:
    """How many requests of each key the hub has received whole; it forgets them."""
    found = (ATTRIBUTION.search(request["head"]) for request in hub.requests() if request["complete"])
    seen = Counter(match[1] for match in found if match)
    hub.clear()
    return seen


def test_kill_nine_loses_nothing(hub: HubProcess, tmp_path: Path) -> None:
    chance = random.Random(11)
    finished: Counter[str] = Counter()
    received: Counter[str] = Counter()
    with Sidecar(tmp_path, hub.url, ACCESS_KEY, proxy__workers="2") as sidecar:
        keys = dict(sidecar.create_key() for _ in range(2))
        hub.clear()
        for number in range(ROUNDS):
            victim = ("worker", "control", "store")[number % 3]
            with ExitStack() as stack:
                loads = {key_id: stack.enter_context(Load(sidecar, secret, pause=0.0)) for key_id, secret in keys.items()}
                run_until(loads, 15, "load")
                # One that was killed before may not be there again yet.
                alive = wait_until(lambda: sidecar.children(victim), within=BUSY, what=f"a {victim}")  # noqa: B023
                os.kill(chance.choice(alive), signal.SIGKILL)
                run_until(loads, 15, f"recovery from a killed {victim} in round {number}")
            finished += Counter({key_id: load.count(200) for key_id, load in loads.items()})
            received += seen_by(hub)
        wait_until(sidecar.is_ready, within=BUSY)
        for key_id in keys:
            check(sidecar, key_id, finished[key_id], received[key_id])
        print(f"\n{ROUNDS} rounds: clients saw {finished.total()} finished, the hub received {received.total()}")


def run_until(loads: dict[str, Load], more: int, what: str) -> None:
    """Wait until each of `loads` has finished `more` requests."""
    enough = {key_id: load.count(200) + more for key_id, load in loads.items()}
    wait_until(lambda: all(load.count(200) >= enough[key_id] for key_id, load in loads.items()), within=BUSY, what=what)


def check(sidecar: Sidecar, key_id: str, finished: int, received: int) -> None:
    """What clients saw finished is counted, and nothing that the hub did not receive."""

    def ledger() -> int:
        groups = sidecar.admin("GET", f"/keys/{key_id}/usage?group_by=outcome").json["groups"]
        return sum(int(group["totals"]["requests"]) for group in groups if group["by"] == "ok")

    def metric() -> float:
        return sidecar.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok")

    wait_until(lambda: ledger() >= finished and metric() >= finished, within=BUSY, what="the count")
    # What a killed worker has begun to write stays behind.
    wait_until(lambda: sidecar.metric("sidecar_metering_pending_bytes") < 10_000, within=BUSY, what="an empty spool")
    wait_until(lambda: ledger() == metric(), within=BUSY, what="what is counted in the ledger")
    assert finished <= ledger() <= received
