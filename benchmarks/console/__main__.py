"""Every screen of the console with 100,000 keys and a month of traffic: `python -m benchmarks.console`.

A whole sidecar runs on a store of its own and is filled through its own parts. Then a real browser opens each
screen several times with an empty cache, once the sidecar has nothing left to do but to answer. Printed are
the server's time, the time until the page is interactive, and what was transferred, all as the browser saw
it; then the processor time of the control process and of the store, and the commands to the store. A screen
that takes 300 ms or more, or 150 kB or more, makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from benchmarks.console.fill import Size, fill_audit_log, fill_keys, write_traffic
from benchmarks.console.server import HEADINGS, Cost, Visitor
from tests.support.browser import chromium, page_of
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar, wait_until
from tests.support.store import Server

MOST_MILLISECONDS, MOST_BYTES = 300.0, 150_000
FOLDED_WITHIN = 3600.0
TIMES = """() => {
    const [page] = performance.getEntriesByType('navigation');
    const all = [page, ...performance.getEntriesByType('resource')];
    return [page.responseEnd - page.requestStart, page.domContentLoadedEventEnd, all.reduce((sum, each) => sum + each.transferSize, 0)];
}"""


@dataclass(frozen=True)
class Opened:
    """A screen, opened several times: milliseconds and bytes."""

    name: str
    server: list[float]
    interactive: list[float]
    transferred: int
    cost: Cost

    @property
    def good(self) -> bool:
        return statistics.median(self.interactive) < MOST_MILLISECONDS and self.transferred < MOST_BYTES

    def __str__(self) -> str:
        return (
            f"{self.name:28} {statistics.median(self.server):9.0f} ms {statistics.median(self.interactive):9.0f} ms "
            f"{max(self.interactive):9.0f} ms {self.transferred / 1000:9.1f} kB {self.cost.control:9.0f} ms {self.cost.store:9.0f} ms "
            f"{self.cost.commands:9.0f}{'' if self.good else '   TOO MUCH'}"
        )


def screens(keys: list[tuple[str, str]]) -> dict[str, str]:
    busy, quiet = keys[0][0], keys[-1][0]
    home = "/settings/api-keys"
    return {
        "keys": home,
        "keys, search": f"{home}?q=application+0999",
        "keys, search for few": f"{home}?q=application+099999",
        "keys, one owner": f"{home}?owner=team+007",
        "keys, expired": f"{home}?status=expired",
        "keys, by name": f"{home}?sort=name",
        "keys, oldest": f"{home}?sort=oldest",
        "keys, latest used": f"{home}?sort=last_used_at",
        "keys, expiring next": f"{home}?sort=expires_at",
        "key, 24 hours": f"{home}/{busy}",
        "key, 30 days": f"{home}/{busy}?range=30d",
        "key without use, 30 days": f"{home}/{quiet}?range=30d",
        "generate new key": f"{home}/new",
        "rotate": f"{home}/{busy}/rotate",
        "revoke": f"{home}/{busy}/revoke",
        "analytics, hour": "/analytics?range=1h",
        "analytics, 24 hours": "/analytics",
        "analytics, 7 days": "/analytics?range=7d",
        "analytics, 30 days": "/analytics?range=30d",
        "calls": "/calls",
        "calls of a key": f"/calls?key={busy}",
        "calls of a quiet key": f"/calls?key={quiet}",
        "calls, few pass": "/calls?outcome=sidecar_error",
        "alerts": "/alerts",
        "audit log": "/audit-log",
        "audit log of a key": f"/audit-log?target={quiet}",
        "audit log, few pass": "/audit-log?action=session",
        "system": "/system",
        "admin tokens": "/settings/admin-tokens",
    }


def measure(browser: Browser, sidecar: Sidecar, paths: dict[str, str], costs: dict[str, Cost], rounds: int) -> list[Opened]:
    found = []
    print(
        f"{'screen':28} {'server':>12} {'interactive':>12} {'at most':>12} {'transfer':>12} {'control':>12} {'store':>12} {'commands':>9}"
    )
    with page_of(browser, sidecar.admin_url, sidecar.admin_token) as page:
        signed_in: Any = page.context.storage_state()
    for name, path in paths.items():
        times = []
        for _ in range(rounds):
            with page_of(browser, sidecar.admin_url, storage_state=signed_in) as page:
                page.goto(path, wait_until="load")
                times.append(page.evaluate(TIMES))
        server, interactive, transferred = zip(*times, strict=True)
        found.append(Opened(name, list(server), list(interactive), max(transferred), costs[name]))
        print(found[-1], flush=True)
    return found


def folded(sidecar: Sidecar) -> bool:
    """Whether the store has everything; while it takes in a month at once it may be too busy to say so."""
    answer = sidecar.admin("GET", "/status")
    return answer.status == 200 and answer.json["spool"]["backlog_bytes"] == 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--active", type=int, default=4_000, help="keys that are used on a day")
    parser.add_argument("--hours", type=int, default=3, help="hours of a day in which such a key is used")
    parser.add_argument("--calls", type=int, default=2, help="calls in such an hour")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", action="store_true", help="without a browser: only what each page costs the server")
    options = parser.parse_args(arguments)
    size = Size(options.keys, options.days, options.active, options.hours, options.calls)
    with tempfile.TemporaryDirectory() as directory, hub_process() as hub:
        store = Server(Path(directory) / "store", append_only=False)
        store.start()
        try:
            with Sidecar(Path(directory), hub.url, ACCESS_KEY, store__url=store.url) as sidecar:
                begun = time.monotonic()
                keys = asyncio.run(fill_keys(sidecar.data_dir, store.url, size.keys))
                asyncio.run(fill_audit_log(sidecar.data_dir, store.url, keys))
                print(f"{len(keys)} keys after {time.monotonic() - begun:.0f} s", flush=True)
                count = write_traffic(sidecar.data_dir / "spool", keys, size)
                wait_until(lambda: folded(sidecar), within=FOLDED_WITHIN, what="the fold")
                print(f"{count} calls of {size.days} days after {time.monotonic() - begun:.0f} s\n", flush=True)
                paths = screens(keys)
                with Visitor(sidecar, store) as visitor:
                    visitor.wait_for_rest()
                    costs = {name: visitor.cost(path, options.rounds) for name, path in paths.items()}
                if options.server:
                    print(f"{'screen':28} {HEADINGS}", *(f"{name:28} {cost}" for name, cost in costs.items()), sep="\n")
                    return 0
                # Not earlier: while Playwright runs, nothing else may run an event loop.
                with chromium() as browser:
                    found = measure(browser, sidecar, paths, costs, options.rounds)
        finally:
            store.close()
    slowest = max(found, key=lambda each: statistics.median(each.interactive))
    print(f"\nslowest: {slowest.name}, {statistics.median(slowest.interactive):.0f} ms")
    return 0 if all(each.good for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
