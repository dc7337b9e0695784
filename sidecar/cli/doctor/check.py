"""One finding of the doctor, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from sidecar.cli.admin.text import printable

Verdict = Literal["ok", "warn", "fail"]


class Check(msgspec.Struct, frozen=True):
    """What was looked at, how it is, and what to do about it (empty: nothing)."""

    name: str
    verdict: Verdict
    finding: str
    advice: str = ""


def ok(name: str, finding: str) -> Check:
    """All is well."""
    return Check(name, "ok", finding)


def warn(name: str, finding: str, advice: str) -> Check:
    """It works, and should not stay like this."""
    return Check(name, "warn", finding, advice)


def fail(name: str, finding: str, advice: str) -> Check:
    """The sidecar cannot do its work like this."""
    return Check(name, "fail", finding, advice)


def failed(checks: Iterable[Check]) -> bool:
    """Whether anything must be mended."""
    return any(check.verdict == "fail" for check in checks)


def lines(checks: Iterable[Check]) -> list[str]:
    """A report for people. Hub and store put words of theirs into it, which must neither drive a terminal nor look like a finding."""
    report = []
    for check in checks:
        report.append(f"{check.verdict:<5} {check.name:<16} {printable(check.finding)}")
        if check.advice:
            report.append(f"{'':<22} → {printable(check.advice)}")
    return report
