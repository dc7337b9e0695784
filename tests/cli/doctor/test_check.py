from __future__ import annotations

from sidecar.cli.doctor.check import fail, failed, lines, ok, warn

CHECKS = [ok("a", "fine"), warn("b", "so so", "do this")]


def test_a_report_says_what_to_do() -> None:
    assert lines(CHECKS) == ["ok    a                fine", "warn  b                so so", "                       → do this"]


def test_what_a_hub_says_drives_no_terminal_and_is_no_finding_of_its_own() -> None:
    said = "down (\x1b[2J\nok    hub status       available)"
    assert lines([warn("hub status", said, said)]) == [
        f"warn  hub status       {said}".translate({0x1B: "\ufffd", 0x0A: "\ufffd"}),
        f"                       → {said}".translate({0x1B: "\ufffd", 0x0A: "\ufffd"}),
    ]


def test_only_a_failure_fails() -> None:
    assert not failed(CHECKS)
    assert failed([*CHECKS, fail("c", "broken", "mend it")])
