"""What tests leave in the server that they share is gone for the next one."""

from __future__ import annotations

from tests.support.shared_store import SharedServer


def test_data_scripts_and_figures_of_the_last_test_are_gone(shared_valkey: SharedServer) -> None:
    server = shared_valkey.emptied()
    server.command("SET", "a", "1")
    sha = server.command("SCRIPT", "LOAD", "return 1").split(b"\r\n")[1].decode()
    again = shared_valkey.emptied()
    assert again is server
    assert again.command("DBSIZE") == b":0\r\n" and again.command("EVALSHA", sha, "0").startswith(b"-NOSCRIPT")


def test_a_server_that_was_set_otherwise_or_has_ended_is_not_used_again(shared_valkey: SharedServer) -> None:
    server = shared_valkey.emptied()
    server.command("CONFIG", "SET", "maxmemory", "100mb")
    other = shared_valkey.emptied()
    assert other is not server
    other.kill()
    assert shared_valkey.emptied().answers()
