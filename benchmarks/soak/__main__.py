"""Runs mixed traffic under random faults and checks at the end that nothing was lost, leaked or wrongly served.

`python -m benchmarks.soak --minutes 60`; exit code 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.soak.faults import Faults
from benchmarks.soak.keys import Keys
from benchmarks.soak.traffic import Traffic
from benchmarks.soak.verdict import Finding, Verdict, report
from benchmarks.soak.watch import Watch
from sidecar import __version__
from tests.support.raw_hub import raw_hub_process
from tests.support.sidecar import Sidecar

CLIENTS = 24
SETTINGS = {
    "hub__profile": "generic",
    "proxy__workers": "2",
    "proxy__drain_timeout": "3s",
    "metrics__max_keys": "5000",
    **{f"proxy__timeouts__{name}": "3s" for name in ("header", "body_idle", "write_idle", "keep_alive", "hub_connect", "hub_idle")},
    "proxy__timeouts__hub_first_byte": "6s",
}


async def soak(sidecar: Sidecar, hub_directory: Path, minutes: float, pause: float, seed: int) -> tuple[list[Finding], str]:
    """Traffic and faults for `minutes`; what was found, and the report."""
    chance = random.Random(seed)
    with raw_hub_process(hub_directory) as hub:
        sidecar.environment["SIDECAR_HUB__URL"] = hub.url
        await asyncio.to_thread(sidecar.start)
        keys = Keys(sidecar, chance)
        await keys.fill()
        traffic, faults = Traffic(sidecar.url, keys, chance), Faults(sidecar, hub, chance, pause)
        watch = Watch(sidecar, max(1.0, minutes / 10))
        rest = watch.look()
        stop, calm = asyncio.Event(), asyncio.Event()
        clients = [asyncio.create_task(traffic.client(stop)) for _ in range(CLIENTS)]
        others = [asyncio.create_task(work) for work in (keys.churn(stop), watch.run(stop))]
        damage = asyncio.create_task(faults.run(calm))
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            await asyncio.sleep(min(30.0, max(0.1, end - time.monotonic())))
            print(
                f"{(end - time.monotonic()) / 60:5.1f} min to go: {traffic.done.total()} exchanges, {faults.done.total()} faults",
                flush=True,
            )
        calm.set()
        await damage
        # The last minute is calm, so that memory and counts are not those of a process that has just begun.
        await asyncio.sleep(min(30.0, 10 * minutes))
        stop.set()
        await asyncio.gather(*clients, *others)
        findings = await asyncio.to_thread(Verdict(sidecar, hub, keys, traffic, watch, rest).findings)
        return findings, report(minutes, seed, findings, traffic, faults, keys, __version__)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default %(default)g)")
    parser.add_argument("--pause", type=float, default=8.0, help="seconds between two faults, on average (default %(default)g)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32), help="to repeat a run")
    parser.add_argument("--report", type=Path, help="write the report here, as Markdown")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        sidecar = Sidecar(Path(directory), "http://127.0.0.1:9/", "hub-key", **SETTINGS)
        try:
            findings, text = asyncio.run(soak(sidecar, Path(directory), given.minutes, given.pause, given.seed))
        finally:
            if sidecar.process is not None:
                sidecar.stop()
        print(text)
        if given.report is not None:
            given.report.write_text(text, encoding="utf-8")
        failed = [one for one in findings if not one.holds]
        if failed:
            print(f"seed {given.seed}; the end of the sidecar's log:", file=sys.stderr)
            print("\n".join(sidecar.log.read_text(errors="replace").splitlines()[-40:]), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
