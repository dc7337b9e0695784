"""What must be true after a soak, and the report that says so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from benchmarks.soak.faults import Faults
from benchmarks.soak.keys import Keys
from benchmarks.soak.traffic import Traffic
from benchmarks.soak.watch import ROLES, Sample, Watch
from tests.failures.logs import UNHANDLED
from tests.support.raw_hub import RawHubProcess
from tests.support.sidecar import Sidecar, wait_until

MAY_GROW = 1.25
ROOM = 16 << 20
"""Bytes of growth that are within what an allocator keeps for itself."""
DESCRIPTORS = 40
"""More than at rest before: connections to store and hub that come and go."""
WITHIN = 60.0

Found = TypeVar("Found")


class Finding(NamedTuple):
    """One thing that had to be true."""

    name: str
    figures: str
    holds: bool


class Verdict:
    """Looks at everything once the traffic is over."""

    def __init__(self, sidecar: Sidecar, hub: RawHubProcess, keys: Keys, traffic: Traffic, watch: Watch, rest: list[Sample]) -> None:
        self._sidecar = sidecar
        self._hub = hub
        self._keys = keys
        self._traffic = traffic
        self._watch = watch
        self._rest = rest

    def findings(self) -> list[Finding]:
        """Every finding; waits until what is on its way has arrived."""
        return [
            self._ready(),
            *self._accounted(),
            self._nothing_left(),
            *self._memory(),
            self._descriptors(),
            self._clients(),
            self._log(),
            self._audit(),
        ]

    def _ready(self) -> Finding:
        wait_until(self._sidecar.is_ready, within=WITHIN, what="readiness after all faults")
        return Finding("the sidecar is ready after all faults", "", True)

    def _accounted(self) -> list[Finding]:
        completed = {key.id: key.completed for key in self._keys.all()}
        begun = len(self._hub.seen("begin"))
        name = "sidecar_key_requests_total"

        def missing() -> list[str]:
            return [key for key, count in completed.items() if self._sidecar.metric(name, key_id=key, outcome="ok") < count]

        short = _until_empty(missing)
        different = _until_empty(self._difference)
        counted = _told(lambda: self._sidecar.metric(name, outcome="ok"))
        everything = _told(lambda: self._sidecar.metric(name))
        lost = _told(lambda: self._sidecar.metric("sidecar_spool_dropped_total"))
        figures = f"clients read {sum(completed.values())} whole answers, counted as ok {counted:.0f}, the hub saw {begun}"
        return [
            Finding("every answer that a client read is counted, and none that the hub never saw", figures, not short and counted <= begun),
            Finding("the ledger and the metrics say the same", "; ".join(different) or f"{everything:.0f}", not different),
            Finding("no event was lost", f"{lost:.0f}", lost == 0),
        ]

    def _difference(self) -> list[str]:
        ledger = self._admin("/usage")["totals"]["requests"]
        counted = self._sidecar.metric("sidecar_key_requests_total")
        return [] if ledger == counted else [f"ledger {ledger}, metrics {counted:.0f}"]

    def _nothing_left(self) -> Finding:
        def left() -> list[str]:
            names = ("sidecar_key_in_flight", "sidecar_worker_connections")
            return [name for name in names if self._sidecar.metric(name) != 0]

        found = _until_empty(left)
        return Finding("nothing is in flight and no client connection is left", ", ".join(found), not found)

    def _memory(self) -> list[Finding]:
        found = []
        for role in ROLES:
            growth = self._watch.growth(role)
            figures = f"{growth.early / 2**20:.0f} MiB early, {growth.late / 2**20:.0f} MiB late, {growth.largest / 2**20:.0f} MiB at most"
            found.append(Finding(f"memory of {role} is flat", figures, growth.late <= growth.early * MAY_GROW + ROOM))
        return found

    def _descriptors(self) -> Finding:
        before = max(sample.descriptors for sample in self._rest)

        def most() -> int:
            return max(sample.descriptors for sample in self._watch.look())

        end = time.monotonic() + WITHIN
        while (now := most()) > before + DESCRIPTORS and time.monotonic() < end:
            time.sleep(1)
        return Finding("descriptors are flat", f"at most {before} at rest before, {now} after", now <= before + DESCRIPTORS)

    def _clients(self) -> Finding:
        faults = Counter(self._traffic.faults)
        figures = "; ".join(f"{fault} ({count}×)" for fault, count in faults.most_common(8))
        return Finding("no client saw what it must never see", figures or f"{self._traffic.done.total()} exchanges", not faults)

    def _log(self) -> Finding:
        lines = self._sidecar.log.read_text(errors="replace").splitlines()
        found = [line for line in lines if any(word in line for word in UNHANDLED)]
        return Finding(
            "no exception in the log that nobody expected", f"{len(lines)} lines; {found[0][:600] if found else 'none'}", not found
        )

    def _audit(self) -> Finding:
        verdict = _told(lambda: self._admin("/audit-events/verify"))["verdict"]
        return Finding("the audit log is whole", f"{verdict['events']} events", bool(verdict["ok"]))

    def _admin(self, path: str) -> Any:
        """What the admin API answers. Raises OSError when it is not there, or not there yet."""
        answer = self._sidecar.admin("GET", path)
        if answer.status != 200:
            raise OSError(f"{path} is answered with {answer.status}")
        return answer.json


def _told(look: Callable[[], Found]) -> Found:
    """What `look` finds, once there is an answer: the last fault may be a reload, which replaces the control process last."""
    (found,) = wait_until(lambda: (look(),), within=WITHIN, what="an answer of the control process")
    return found


def _until_empty(look: Callable[[], list[str]]) -> list[str]:
    """What `look` still finds when it has had time to become nothing; an answer that does not come is one that is waited for."""
    end = time.monotonic() + WITHIN
    while True:
        try:
            found = look()
        except OSError as error:
            found = [str(error)]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.5)


def report(minutes: float, seed: int, findings: list[Finding], traffic: Traffic, faults: Faults, keys: Keys, version: str) -> str:
    """The report as Markdown."""
    rows = "\n".join(f"| {'yes' if one.holds else '**no**'} | {one.name} | {one.figures} |" for one in findings)
    kinds = "\n".join(f"| {kind} | {count} |" for kind, count in sorted(traffic.done.items()))
    damage = "\n".join(f"| {kind} | {count} |" for kind, count in sorted(faults.done.items()))
    return f"""# Soak

{minutes:g} minutes of mixed traffic on two workers with an embedded store, and random faults all the while. \
Made by `make soak ARGS='--minutes {minutes:g} --seed {seed} --report docs/soak.md'`, version {version}.

| holds | what | figures |
|---|---|---|
{rows}

Keys: {keys.acts["created"]} made, {keys.acts["revoked"]} revoked, {keys.acts["failed"]} attempts while it could not be done.

| fault | times |
|---|---|
{damage}

| clients: kind and status | exchanges |
|---|---|
{kinds}
"""
