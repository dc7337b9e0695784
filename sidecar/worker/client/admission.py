"""Whether a new client connection is served."""

from __future__ import annotations

from sidecar.refusals import OVERLOADED, SHUTTING_DOWN, Refused
from sidecar.worker.client.front import OVERSHOOT, Front, Timed


def admit(front: Front, connection: Timed) -> None:
    """Count `connection`, and await its first request or tell it why not."""
    front.accepted += 1
    front.connections.add(connection)
    if front.surplus > OVERSHOOT:
        connection.abort()
    elif not front.has_room():
        front.serving.reject(connection, Refused(OVERLOADED))
    elif front.draining and not front.admits_late():
        front.serving.reject(connection, Refused(SHUTTING_DOWN))
    else:
        front.header_deadline.arm(connection)
