from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli.admin.address import find, find_token, parse
from sidecar.cli.errors import WRONG_USE, CommandError


@pytest.mark.parametrize(
    ("url", "tls", "host", "port", "prefix", "socket"),
    [
        ("http://127.0.0.1:8081", False, "127.0.0.1", 8081, "", ""),
        ("http://[::1]:9", False, "::1", 9, "", ""),
        ("https://admin.example", True, "admin.example", 443, "", ""),
        ("https://example/sidecar/", True, "example", 443, "/sidecar", ""),
        ("unix:///run/admin.sock", False, "localhost", 0, "", "/run/admin.sock"),
    ],
)
def test_forms(url: str, tls: bool, host: str, port: int, prefix: str, socket: str) -> None:
    found = parse(url)
    assert (found.tls, found.host, found.port, found.prefix, found.socket) == (tls, host, port, prefix, socket)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8081",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://u:p@x",
        "http://:p@x",
        "unix://",
        "http://x?q=1",
        "http://[",
        "http://a b:1",
        "http://x/\u00e9",
        "http://x/a\nb",
    ],
)
def test_other_forms_are_wrong_use(url: str) -> None:
    with pytest.raises(CommandError, match="write http://host:port") as error:
        parse(url)
    assert error.value.code == WRONG_USE


@pytest.mark.parametrize("url", ["sat_" + "0aB" * 16, "https://bob:0aB0aB@x", "https://:0aB0aB@x/", "https://bob:0aB0aB@x:y/"])
def test_a_secret_in_place_of_an_address_is_not_repeated(url: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse(url)
    assert "0aB0aB" not in str(caught.value)


def test_the_option_outranks_the_environment() -> None:
    environment = {"SIDECAR_ADMIN_URL": "http://b:2"}
    assert find("http://a:1", environment).host == "a"
    assert find(None, environment).host == "b"
    assert find(None, {}).url == "http://127.0.0.1:8081"


def test_order_of_token_places(tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_text("from-data-dir\n")
    (tmp_path / "other").write_text("from-file\n")
    environment = {"SIDECAR_ADMIN_TOKEN": "from-environment"}
    assert find_token(str(tmp_path / "other"), environment, tmp_path) == "from-file"
    assert find_token(None, environment, tmp_path) == "from-environment"
    assert find_token(None, {}, tmp_path) == "from-data-dir"


def test_no_token_says_where_to_put_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="with --admin-token-file, or set SIDECAR_DATA_DIR or SIDECAR_ADMIN_TOKEN"):
        find_token(None, {}, tmp_path)


@pytest.mark.parametrize("content", ["", "two words", "line\nline", "tökén"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(CommandError, match="bare token"):
        find_token(str(tmp_path / "file"), {}, tmp_path)


@pytest.mark.parametrize("content", [" ", "two words", "line\nline", "tökén"])
def test_a_variable_without_a_token_is_refused_and_not_repeated(tmp_path: Path, content: str) -> None:
    with pytest.raises(CommandError, match=r"^SIDECAR_ADMIN_TOKEN does not hold an admin token") as caught:
        find_token(None, {"SIDECAR_ADMIN_TOKEN": content}, tmp_path)
    assert content == " " or content not in str(caught.value)


def test_a_token_in_place_of_its_file_is_not_repeated(tmp_path: Path) -> None:
    token = "aht_" + "0aB" * 16
    with pytest.raises(CommandError, match="cannot be read") as caught:
        find_token(token, {}, tmp_path)
    assert token[4:] not in str(caught.value)
