"""The admin API as commands use it: one connection, JSON in and out, every failure as a sentence.

http.client instead of aiohttp: a command must start in a moment, and makes one call after another.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead, RemoteDisconnected
from typing import Any, Self
from urllib.parse import quote, urlencode

from sidecar import __version__
from sidecar.cli.admin.address import Address
from sidecar.cli.errors import WRONG_USE, CommandError
from sidecar.refusals import INVALID_API_KEY, UNKNOWN_ROUTE

PATH = "/admin/v1"
PAGE = 200
TIMEOUT = 30.0
_MAX_ERROR = 64 << 10
_PIECE = 64 << 10
_OTHER_NAME = "give a name that the certificate has in --admin-url, or make one that has this name"
_OTHER_TIME = "renew it, or set the clock of this machine"
_ADVICE = {62: _OTHER_NAME, 64: _OTHER_NAME, 9: _OTHER_TIME, 10: _OTHER_TIME}
"""What to do by OpenSSL's X509_V_ERR_… (HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH, CERT_NOT_YET_VALID, CERT_HAS_EXPIRED)."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What an answer in clear text is to OpenSSL, in its versions."""


class ApiError(CommandError):
    """The API said no; `code` is the exit code, `reason` the API's own code, `status` the HTTP status."""

    def __init__(self, sentence: str, status: int, reason: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason


class Items:
    """The items of a paged list; `next_cursor` says where what is behind the last one begins, if there is more."""

    def __init__(self, page: Callable[[int, str | None], dict[str, Any]], limit: int | None, cursor: str | None) -> None:
        self.next_cursor = cursor
        self._items = self._fetch(page, limit)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._items

    def __next__(self) -> dict[str, Any]:
        return next(self._items)

    def _fetch(self, fetch: Callable[[int, str | None], dict[str, Any]], limit: int | None) -> Iterator[dict[str, Any]]:
        while limit is None or limit > 0:
            page = fetch(PAGE if limit is None else min(limit, PAGE), self.next_cursor)
            self.next_cursor = page.get("next_cursor")
            yield from page["data"]
            limit = None if limit is None else limit - len(page["data"])
            # A page may be empty and still have a next one: the search stopped there for a while.
            if not self.next_cursor:
                return


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Answered(dict[str, Any]):
    """An object of an answer. One without a member that a command needs is no answer of the admin API, whatever its status."""

    def __init__(self, members: dict[str, Any], foreign: Callable[[], CommandError]) -> None:
        super().__init__(members)
        self._foreign = foreign

    def __missing__(self, name: str) -> Any:
        raise self._foreign()


class AdminApi:
    """A client of one admin API; use it in a `with` block. `token` is asked at each call, so at none that is never made."""

    def __init__(self, address: Address, token: Callable[[], str], *, timeout: float = TIMEOUT) -> None:
        self._address = address
        self._token = token
        self._connection = _connection(address, timeout)
        self._used = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def rest(self) -> None:
        """Let go of the connection before a pause: whoever closes it meanwhile would fail the next call that changes something."""
        self._connection.close()
        self._used = False

    @property
    def address(self) -> Address:
        """Where the calls go."""
        return self._address

    def get(self, path: str, **query: Any) -> Any:
        """The document at `path` (below /admin/v1); query members that are None are not sent."""
        return self._document(self._open("GET", path, query))

    def send(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """The answer to a call with a JSON body; None when it has none. CommandError when what was given is no text."""
        try:
            data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            # Arguments and standard input need not be text; the API would complain of JSON that nobody has written.
            raise CommandError(
                "what was given is not text in UTF-8; nothing was sent. Type it in a terminal set to UTF-8.", WRONG_USE
            ) from None
        return self._document(self._open(method, path, {}, data, {"Content-Type": "application/json", **(headers or {})}))

    def upload(self, path: str, body: bytes, content_type: str) -> Any:
        """The answer to a POST with a body that is not JSON."""
        return self._document(self._open("POST", path, {}, body, {"Content-Type": content_type}))

    def items(self, path: str, limit: int | None = None, start: str | None = None, **query: Any) -> Items:
        """The items of a paged list, page after page as they are asked for, `limit` at most, from the cursor `start` on."""
        return Items(lambda size, cursor: self.get(path, **query, limit=size, cursor=cursor), limit, start)

    def lines(self, path: str, accept: str, **query: Any) -> Iterator[bytes]:
        """The lines of an export, as they arrive, each with its line end."""
        response = self._open("GET", path, query, headers={"Accept": accept})
        if response.headers.get_content_type() != accept:
            # A page of something else would be kept as an export.
            raise self._foreign()
        rest = b""
        try:
            # Not by readline(), to which an answer that breaks off between two chunks is whole.
            while piece := response.read1(_PIECE):
                *whole, rest = (rest + piece).split(b"\n")
                yield from (line + b"\n" for line in whole)
            if response.length:
                raise IncompleteRead(rest, response.length)
        except (OSError, HTTPException) as error:
            raise self._broken(error) from None
        if rest:
            yield rest

    def _open(
        self, method: str, path: str, query: Mapping[str, Any], body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        pairs = {name: value for name, value in query.items() if value is not None}
        # Arguments of the shell need not be text.
        query_string = urlencode(pairs, quote_via=quote, errors="surrogateescape")
        target = f"{self._address.prefix}{PATH}{path}" + (f"?{query_string}" if pairs else "")
        fields = {
            "Authorization": f"Bearer {self._token()}",
            "Accept": "application/json",
            "User-Agent": f"sidecar-cli/{__version__}",
            **(headers or {}),
        }
        response = self._exchange(method, target, body, fields)
        if not 200 <= response.status < 300:
            # A redirect too: it leads to the sign-in page of whatever stands before the admin API, and has no body to show for it.
            raise _refusal(response, self._address)
        return response

    def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> HTTPResponse:
        for attempt in (1, 2):
            try:
                self._connection.request(method, target, body=body or None, headers=dict(headers))
                response = self._connection.getresponse()
            except (RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self._connection.close()
                # An idle connection may have been closed meanwhile; only a call that changes nothing is safe to repeat.
                if attempt == 2 or not self._used or method != "GET":
                    raise self._broken(error) from None
            except (OSError, HTTPException, UnicodeError) as error:
                # UnicodeError: a host name that cannot be one, such as one with a label of 64 characters.
                self._connection.close()
                raise self._broken(error) from None
            else:
                self._used = True
                return response
        raise AssertionError("unreachable")

    def _document(self, response: HTTPResponse) -> Any:
        try:
            data = response.read()
            if response.status == HTTPStatus.NO_CONTENT:
                return None
            document = json.loads(data, object_hook=lambda members: _Answered(members, self._foreign))
        except (OSError, HTTPException) as error:
            raise self._broken(error, begun=True) from None
        except (ValueError, RecursionError):
            raise self._foreign() from None
        if not isinstance(document, dict):
            raise self._foreign()
        return document

    def _foreign(self) -> CommandError:
        return CommandError(f"{self._address.url} does not answer like a sidecar's admin API; check --admin-url.")

    def _broken(self, error: Exception, *, begun: bool = False) -> CommandError:
        """What to tell of a call that failed, of whose answer something had come if it had `begun`."""
        if isinstance(error, IncompleteRead) or (begun and isinstance(error, ConnectionError)):
            return CommandError(f"the answer of {self._address.url} broke off, so what came is not all of it; try again.")
        if isinstance(error, ssl.SSLCertVerificationError):
            return CommandError(
                f"the certificate of {self._address.url} is not trusted ({error.verify_message.rstrip('.')}); "
                f"{_ADVICE.get(error.verify_code, 'point SSL_CERT_FILE at the authority that signed it')}."
            )
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            return CommandError(f"{self._address.url} does not speak TLS; if its admin API has none, write http:// in --admin-url.")
        if isinstance(error, ConnectionResetError | BrokenPipeError) and self._address.url.startswith("http://"):
            # What a listener with TLS does to whoever speaks without; a reset, if it had not read all of it.
            return CommandError(f"{self._address.url} hung up without an answer; if its admin API has TLS, write https:// in --admin-url.")
        words = "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
        return CommandError(
            f"the admin API at {self._address.url} cannot be reached ({words or type(error).__name__}); "
            "start the sidecar, or give its address with --admin-url."
        )


def _connection(address: Address, timeout: float) -> HTTPConnection:
    if address.socket:
        return _UnixConnection(address.socket, timeout)
    if address.tls:
        return HTTPSConnection(address.host, address.port, timeout=timeout, context=ssl.create_default_context())
    return HTTPConnection(address.host, address.port, timeout=timeout)


def _refusal(response: HTTPResponse, address: Address) -> ApiError:
    try:
        fault = json.loads(response.read(_MAX_ERROR))["error"]
        message, reason = str(fault["message"]), str(fault["code"])
    except (ValueError, KeyError, TypeError, OSError, HTTPException):
        return ApiError(
            f"{address.url} answered {response.status}, which is not how the admin API answers; check --admin-url.", response.status, ""
        )
    if reason in (INVALID_API_KEY.code, UNKNOWN_ROUTE.code):
        # The commonest mix-up: the address that applications use answers as well, and no token would please it.
        message = f"{address.url} is where applications call the hub; give the admin API's address with --admin-url."
        return ApiError(message, response.status, reason)
    if response.status == 401:
        message = f"{message.rstrip('.')}; give the right one with --admin-token-file or SIDECAR_ADMIN_TOKEN."
    return ApiError(message, response.status, reason)
