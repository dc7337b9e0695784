"""The deadlines of one client connection that are more than one call."""

from __future__ import annotations

import asyncio
from functools import partial

from sidecar.worker.client.front import Front, Timed
from sidecar.worker.taken import taken_bytes


def await_reader(front: Front, connection: Timed, transport: asyncio.Transport) -> None:
    """Give up `connection`, that of `transport`, once its client has taken nothing for `write_idle`."""
    front.write_deadline.watch(connection, partial(taken_bytes, transport))


def await_rest(front: Front, connection: Timed) -> None:
    """Give up `connection`, which has been answered early, when its client pauses, or goes on for too long."""
    front.linger_deadline.arm(connection)
    front.told_deadline.arm(connection)


def disarm_all(front: Front, connection: Timed) -> None:
    """`connection` is over, or is another's business from now on."""
    for queue in (
        front.header_deadline, front.idle_deadline, front.body_deadline, front.write_deadline, front.linger_deadline, front.told_deadline,
    ):  # fmt: skip
        queue.disarm(connection)
