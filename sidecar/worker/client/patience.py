"""The deadlines of one client connection that are more than one call."""

from __future__ import annotations

import asyncio
from functools import partial

from sidecar.taken import taken_bytes
from sidecar.worker.client.front import Front, Timed


def await_reader(front: Front, connection: Timed, transport: asyncio.Transport) -> None:
    """Give up `connection`, that of `transport`, once its client has taken nothing for `write_idle`."""
    front.write_deadline.watch(connection, partial(taken_bytes, transport))


def await_head(front: Front, connection: Timed) -> None:
    """Give up `connection`, which was idle, unless what it has begun to send is a request in time.

    Over TLS it may be part of a record that never ends: of that the transport tells nobody, so no other deadline would begin.
    """
    front.idle_deadline.disarm(connection)
    front.header_deadline.arm(connection)


def close(front: Front, connection: Timed, transport: asyncio.Transport) -> None:
    """Close `transport` when what was written has gone out, for which the client has as long as for any other bytes.

    Over TLS for its farewell too; meanwhile its place may be given to another.
    """
    transport.close()
    if connection.unsent or (front.scheme == "https" and connection in front.connections):
        await_reader(front, connection, transport)
        front.leaving.arm(connection)


def leave_at_once(front: Front, connection: Timed, transport: asyncio.Transport) -> bool:
    """Wait no longer for the client's farewell on a closing `transport`; False when it has not taken all that was written.

    Over TLS the farewell may never come: whoever never says it would keep a place that needs no key to get.
    """
    if not transport.is_closing() or connection.unsent:
        return False
    # It may be in several queues, and is there until the transport says that it is gone: its place is to be given away once.
    disarm_all(front, connection)
    # Not before the loop's next turn, in which our own farewell has gone out. Without a reset: the kernel may still have bytes to send.
    front.loop.call_soon(transport.abort)
    return True


def await_rest(front: Front, connection: Timed) -> None:
    """Give up `connection`, which has been answered early, when its client pauses, or goes on for too long."""
    front.linger_deadline.arm(connection)
    front.told_deadline.arm(connection)


def disarm_all(front: Front, connection: Timed) -> None:
    """`connection` is over, or is another's business from now on."""
    for queue in (
        front.header_deadline, front.idle_deadline, front.body_deadline, front.write_deadline, front.linger_deadline, front.told_deadline,
        front.leaving,
    ):  # fmt: skip
        queue.disarm(connection)
