from __future__ import annotations

import socket

import pytest

from sidecar.listening import bind
from sidecar.settings.values import Listen
from tests.support.ports import free_port
from tests.support.tools import unable


def test_a_port_is_shared_among_those_who_bind_it() -> None:
    listen = Listen.parse(f"127.0.0.1:{free_port()}")
    with bind(listen) as first, bind(listen) as second:
        assert first.getsockname() == second.getsockname()
        assert not first.get_inheritable()


def test_the_family_is_that_of_the_address() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        unable(f"this machine has no IPv6: {error}")
    with bind(Listen.parse("[::1]:0")) as bound:
        assert bound.family == socket.AF_INET6


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        bind(Listen.parse("192.0.2.1:8080"))
