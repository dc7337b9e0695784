"""What a sidecar's log must never hold, whatever failed."""

from __future__ import annotations

from tests.support.sidecar import Sidecar

UNHANDLED = ("Traceback", "never retrieved", "was never awaited", "socket.send() raised", "Exception in callback", "Unhandled")


def assert_clean(sidecar: Sidecar) -> None:
    """No exception that nobody expected was logged."""
    lines = sidecar.log.read_text(errors="replace").splitlines()
    found = [number for number, line in enumerate(lines) if any(word in line for word in UNHANDLED)]
    assert not found, "\n".join(lines[max(0, found[0] - 5) : found[0] + 40])
