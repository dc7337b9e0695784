from __future__ import annotations

from sidecar.cli.doctor.check import fail, failed, lines, ok, warn

CHECKS = [ok("a", "fine"), warn("b", "so so", "do this")]


def test_a_report_says_what_to_do() -> None:
    assert lines(CHECKS) == ["ok    a                fine", "warn  b                so so", "                       → do this"]


def test_only_a_failure_fails() -> None:
    assert not failed(CHECKS)
    assert failed([*CHECKS, fail("c", "broken", "mend it")])
