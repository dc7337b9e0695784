"""Whether a new client connection is served."""

from __future__ import annotations

from sidecar.refusals import OVERLOADED, SHUTTING_DOWN, Refused
from sidecar.worker.client.front import OVERSHOOT, Front, Timed
from sidecar.worker.client.patience import await_rest

UNTOLD = 16
"""As OVERSHOOT, for those that can be told only after their TLS handshake. They may never finish it, so there are no more of them than
there are descriptors to spare (`worker/descriptors.py`)."""


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


def admit_untold(front: Front, connection: Timed) -> Refused | None:
    """Count `connection`, which hears nothing before its TLS handshake is over; why it is to be refused then.

    The time for its first head begins now. Who is to be refused has as long for the handshake as others to hear why.
    """
    front.accepted += 1
    front.connections.add(connection)
    if front.surplus > OVERSHOOT:
        # Before anybody is asked to make room: those who were, go a turn of the loop later.
        connection.abort()
        return None
    if front.has_room():
        front.header_deadline.arm(connection)
        return None
    if front.surplus > UNTOLD:
        connection.abort()
        return None
    await_rest(front, connection)
    return Refused(OVERLOADED)
