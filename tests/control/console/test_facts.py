"""The state of the sidecar in words and units."""

from __future__ import annotations

from sidecar.control.console.facts import PARTS, WORKERS, facts, row


def test_a_part_says_what_there_is_to_say() -> None:
    part = {"kind": "redis", "up": False, "failure": "the key store cannot be reached", "on_unavailable": "refuse"}
    assert facts(part, PARTS["store"]) == [
        ("State", '<span class="badge down">down</span>'),
        ("What is wrong", "the key store cannot be reached"),
        ("Kind", "redis"),
        ("While it is away", "refuse"),
    ]
    assert facts({**part, "up": True, "failure": ""}, PARTS["store"])[1] == ("Kind", "redis")
    assert facts({"backlog_bytes": 616948, "dropped": 0}, PARTS["spool"]) == [("Not counted yet", "602 KiB"), ("Events lost", "0")]


def test_a_worker_s_figures_have_units() -> None:
    worker = {"worker": 0, "pid": 18848, "age_seconds": 0.953, "in_flight": 1200, "lease_age_seconds": None, "loop_lag_seconds": 0.0004}
    shown = dict(zip(WORKERS, row(worker), strict=True))
    assert (shown["pid"], shown["age_seconds"], shown["in_flight"]) == ("18848", "953 ms ago", "1\u202f200")
    assert (shown["lease_age_seconds"], shown["loop_lag_seconds"]) == ("–", "<1 ms")
