from __future__ import annotations

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.cli.admin.address import parse
from sidecar.cli.admin.api import PAGE, AdminApi, ApiError
from sidecar.cli.errors import WRONG_USE, CommandError
from tests.support.fake_admin import TOKEN, Call, FakeAdmin, Reply, refusal, serving


def api_of(url: str, token: str = TOKEN, timeout: float = 5) -> AdminApi:
    return AdminApi(parse(url), lambda: token, timeout=timeout)


def test_query_members_that_are_none_stay_out(admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", {"data": []})
    with api_of(admin.url) as api:
        api.get("/keys", q="a b&c", owner=None)
    assert admin.calls[0].query == {"q": "a b&c"}


def test_what_is_no_text_is_not_sent(admin: FakeAdmin) -> None:
    """As an argument of a shell with another encoding, or standard input where the locale is C."""
    with api_of(admin.url) as api, pytest.raises(CommandError, match="not text in UTF-8") as caught:
        api.send("POST", "/keys", {"name": "M\udcfcller"})
    assert caught.value.code == WRONG_USE
    assert admin.calls == []


def test_text_of_any_script_is_sent(admin: FakeAdmin) -> None:
    admin.on("POST", "/keys", {})
    with api_of(admin.url) as api:
        api.send("POST", "/keys", {"name": "Müller 日本 😀\u2028"})
    assert admin.calls[0].json == {"name": "Müller 日本 😀\u2028"}


def test_pages_are_fetched_as_they_are_asked_for(admin: FakeAdmin) -> None:
    def page(call: Call) -> Reply:
        start = int(call.query.get("cursor", "0"))
        size = int(call.query["limit"])
        return Reply(
            {
                "data": [{"n": n} for n in range(start, min(start + size, 450))],
                "next_cursor": str(start + size) if start + size < 450 else None,
            }
        )

    admin.on("GET", "/keys", page)
    with api_of(admin.url) as api:
        assert next(api.items("/keys")) == {"n": 0}
        assert len(admin.calls) == 1
        assert [item["n"] for item in api.items("/keys")] == list(range(450))
        some = api.items("/keys", PAGE + 5)
        assert len(list(some)) == PAGE + 5
        assert some.next_cursor == str(PAGE + 5)


def test_a_search_goes_on_behind_an_empty_page(admin: FakeAdmin) -> None:
    pages = {"": ([], "a"), "a": ([{"n": 1}], "b"), "b": ([], "c"), "c": ([{"n": 2}], None)}

    def page(call: Call) -> Reply:
        data, following = pages[call.query.get("cursor", "")]
        return Reply({"data": data, "next_cursor": following})

    admin.on("GET", "/audit-events", page)
    with api_of(admin.url) as api:
        assert [item["n"] for item in api.items("/audit-events")] == [1, 2]
        assert [item["n"] for item in api.items("/audit-events", 1)] == [1]


@pytest.mark.parametrize("answer", [{}, {"data": [{}]}, {"data": [{"key": {}}]}])
def test_an_answer_without_what_is_needed_is_not_the_admin_apis(admin: FakeAdmin, answer: dict[str, object]) -> None:
    admin.on("GET", "/keys", answer)
    with api_of(admin.url) as api, pytest.raises(CommandError, match="does not answer like a sidecar's admin API; check --admin-url"):
        assert next(api.items("/keys"))["key"]["id"]


def test_a_unix_socket(tmp_path: Path) -> None:
    with serving(tmp_path / "admin.sock") as admin:
        admin.on("GET", "/whoami", {"ok": True})
        with api_of(admin.url) as api:
            assert api.get("/whoami") == {"ok": True}


def test_a_refusal_is_the_api_s_own_sentence(admin: FakeAdmin) -> None:
    admin.on("POST", "/keys", refusal(400, "invalid_request", "name: is missing."))
    with api_of(admin.url) as api, pytest.raises(ApiError, match=r"^name: is missing\.$") as error:
        api.send("POST", "/keys", {})
    assert (error.value.status, error.value.reason, error.value.code) == (400, "invalid_request", 1)


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (404, "unknown_route")])
def test_the_data_plane_s_address_is_not_taken_for_a_wrong_token(admin: FakeAdmin, status: int, code: str) -> None:
    admin.on("GET", "/keys", refusal(status, code, "This API key is not valid."))
    with api_of(admin.url) as api, pytest.raises(ApiError, match=r"is where applications call the hub; give .* with --admin-url"):
        api.get("/keys")


def test_a_wrong_token_says_how_to_give_another(admin: FakeAdmin) -> None:
    with api_of(admin.url, "wrong") as api, pytest.raises(ApiError, match="--admin-token-file or SIDECAR_ADMIN_TOKEN"):
        api.get("/keys")


@pytest.mark.parametrize("reads_all", [True, False], ids=["closed", "reset"])
def test_a_listener_that_hangs_up_may_want_tls(reads_all: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            accepted, _ = listener.accept()
            read = accepted.recv(1)
            while reads_all and not read.endswith(b"{}"):
                read += accepted.recv(100_000)
            accepted.close()

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with api_of(url) as api, pytest.raises(CommandError, match=r"hung up without an answer; .* https:// in --admin-url"):
            api.send("POST", "/keys", {})


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with api_of(f"http://127.0.0.1:{port}") as api, pytest.raises(CommandError, match=r"cannot be reached \(Connection refused\); start"):
        api.get("/keys")


def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with api_of(url, timeout=0.1) as api, pytest.raises(CommandError, match="no answer in time"):
            api.get("/keys")


@pytest.mark.parametrize("reply", [Reply(raw=b"<html>", content_type="text/html"), Reply(raw=b"<html>", status=502)])
def test_something_else_is_listening(admin: FakeAdmin, reply: Reply) -> None:
    admin.on("GET", "/keys", reply)
    with api_of(admin.url) as api, pytest.raises(CommandError, match="check --admin-url"):
        api.get("/keys")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(raw=b"<html>", content_type="text/html"),
        Reply({}),
        Reply(status=302, content_type="text/csv", headers={"Location": "https://sign-in.example/"}),
    ],
    ids=["page", "json", "redirect"],
)
def test_a_page_of_something_else_is_no_export(admin: FakeAdmin, reply: Reply) -> None:
    admin.on("GET", "/usage", reply)
    with api_of(admin.url) as api, pytest.raises(CommandError, match="check --admin-url"):
        list(api.lines("/usage", "text/csv"))


@pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b"", b"[" * 100_000])
def test_what_is_no_document_is_told(admin: FakeAdmin, raw: bytes) -> None:
    admin.on("POST", "/keys", Reply(raw=raw))
    with api_of(admin.url) as api, pytest.raises(CommandError, match="check --admin-url"):
        api.send("POST", "/keys", {})


def test_tls_is_verified(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving(tls=context) as admin, api_of(admin.url) as api, pytest.raises(CommandError, match="point SSL_CERT_FILE"):
        api.get("/keys")


def test_a_certificate_of_another_name_is_told_as_such(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signed it is trusted already."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serving(tls=context) as admin, api_of(admin.url) as api, pytest.raises(CommandError, match="give a name that the certificate has"):
        api.get("/keys")


def test_a_listener_without_tls_is_told_as_such(admin: FakeAdmin) -> None:
    with api_of(admin.url.replace("http:", "https:")) as api, pytest.raises(CommandError, match=r"write http:// in --admin-url"):
        api.get("/keys")


def test_an_idle_connection_that_was_closed_is_opened_again_for_reads_only(admin: FakeAdmin) -> None:
    admin.on("GET", "/x", Reply({}, headers={"Connection": "close"}))
    admin.on("POST", "/x", Reply({}))
    with api_of(admin.url) as api:
        for _ in range(3):
            assert api.get("/x") == {}
    assert len(admin.calls) == 3


def test_a_call_after_a_pause_has_a_connection_of_its_own(admin: FakeAdmin) -> None:
    admin.on("GET", "/x", Reply({}))
    admin.on("POST", "/x", Reply({}))
    with api_of(admin.url) as api:
        api.get("/x")
        before = api._connection.sock
        assert before is not None
        api.rest()
        # What a server that closes idle connections does to it.
        assert before.fileno() == -1
        assert api.send("POST", "/x") == {}


@pytest.mark.parametrize(
    "broken",
    [
        b"Transfer-Encoding: chunked\r\n\r\n4\r\na\nb\n\r\n",
        b'Transfer-Encoding: chunked\r\n\r\n4\r\na\nb\n\r\n5\r\n{"c',
        b"Content-Length: 9\r\n\r\na\nb\n",
    ],
)
def test_an_export_that_breaks_off_is_never_taken_for_whole(broken: bytes) -> None:
    """Also not where a piece of it had just ended: the server may have been killed there."""
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as aside:
        aside.submit(_answer_once, server, begun + broken)
        with api_of(f"http://127.0.0.1:{server.getsockname()[1]}") as api:
            lines = api.lines("/usage", "text/csv")
            assert [next(lines), next(lines)] == [b"a\n", b"b\n"]
            with pytest.raises(CommandError, match="broke off"):
                next(lines)


@pytest.mark.parametrize(
    "broken",
    [b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n', b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", b"Content-Length: 9\r\n\r\n{}"],
)
def test_a_document_that_breaks_off_is_told_as_such(broken: bytes) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as aside:
        aside.submit(_answer_once, server, begun + broken)
        with api_of(f"http://127.0.0.1:{server.getsockname()[1]}") as api, pytest.raises(CommandError, match="broke off, so what came"):
            api.get("/usage")


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


def test_lines_are_those_of_the_server(admin: FakeAdmin) -> None:
    text = "a\u2028b\n\r\nlast \x0c".encode()
    admin.on("GET", "/usage", Reply(raw=text, content_type="text/csv"))
    with api_of(admin.url) as api:
        assert list(api.lines("/usage", "text/csv")) == ["a\u2028b\n".encode(), b"\r\n", b"last \x0c"]


def test_an_argument_that_is_no_text_is_sent_as_it_is(admin: FakeAdmin) -> None:
    admin.on("GET", "/keys", {"data": []})
    with api_of(admin.url) as api:
        api.get("/keys", q="\udcff")
    assert admin.calls[0].query == {"q": "\ufffd"}


def test_a_name_that_no_host_can_have() -> None:
    with api_of(f"http://{'a' * 64}.example") as api, pytest.raises(CommandError, match="cannot be reached"):
        api.get("/keys")
