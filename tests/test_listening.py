from __future__ import annotations

import socket

import pytest

from sidecar.listening import bind, bind_each
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


def test_a_name_is_bound_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    bound = bind_each(Listen.parse(f"sidecar.example:{port}"))
    assert [each.getsockname() for each in bound] == [("127.0.0.1", port), ("127.0.0.2", port)]
    for each in bound:
        assert not each.get_inheritable()
        each.close()


def test_of_a_name_that_cannot_be_bound_at_all_its_addresses_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "192.0.2.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(OSError, match="assign"):
        bind_each(Listen.parse(f"sidecar.example:{port}"))
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", port)):
        pass  # it is free, also for those who do not share


def test_every_address_of_ipv6_leaves_those_of_ipv4_to_others() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        unable(f"this machine has no IPv6: {error}")
    port = free_port()
    (bound,) = bind_each(Listen.parse(f"[::]:{port}"))
    with bound, socket.create_server(("127.0.0.1", port)):
        assert bound.family == socket.AF_INET6
