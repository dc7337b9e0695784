"""Whatever goes wrong with the store is one of our own errors, and says what to do where somebody can do something."""

from __future__ import annotations

import ssl

import pytest
from redis import exceptions as redis_errors
from redis._parsers.base import BaseParser
from redis.asyncio.sentinel import MasterNotFoundError

from sidecar.store.errors import StoreNotAdopted, StoreRefused, StoreUnavailable, translate

HEALTH = {
    "OOM": "is out of memory",
    "READONLY": "is read-only",
    "MISCONF": "cannot write to its disk",
    "NOREPLICAS": "has too few replicas",
    "NOAUTH": "wants a password",
    "WRONGPASS": "does not accept the password",
    "NOPERM": "lacks a permission",
    "LOADING": "is loading its data",
    "MASTERDOWN": "primary is down",
    "CLUSTERDOWN": "cluster is down",
    "TRYAGAIN": "is moving data",
    "BUSY": "is busy with a script",
}
"""What the first word of an error reply says of the store."""

CLASSES = {
    redis_errors.OutOfMemoryError: "OOM",
    redis_errors.ReadOnlyError: "READONLY",
    redis_errors.AuthenticationError: "WRONGPASS",
    redis_errors.NoPermissionError: "NOPERM",
    redis_errors.BusyLoadingError: "LOADING",
    redis_errors.MasterDownError: "MASTERDOWN",
    redis_errors.ClusterDownError: "CLUSTERDOWN",
    redis_errors.TryAgainError: "TRYAGAIN",
}
"""What redis-py makes of some of them; it takes the first word away."""


def wrapped(inner: Exception, *, meant: bool) -> Exception:
    """As redis-py raises what goes wrong during the greeting: from it, or while it is being handled."""
    try:
        try:
            raise inner
        except Exception as error:
            if meant:
                raise redis_errors.ConnectionError("x") from error
            raise redis_errors.ConnectionError("x")  # noqa: B904
    except redis_errors.ConnectionError as outer:
        return outer


@pytest.mark.parametrize("code", HEALTH)
def test_a_reply_about_the_stores_health(code: str) -> None:
    for text in (code, f"{code} whatever it says"):
        made = translate(redis_errors.ResponseError(text))
        assert type(made) is StoreUnavailable and HEALTH[code] in str(made)


@pytest.mark.parametrize("kind", CLASSES)
def test_what_redis_py_knows_of_it(kind: type[Exception]) -> None:
    # The error of the greeting is often about something else again.
    for error in (kind("x"), wrapped(kind("x"), meant=True), wrapped(kind("x"), meant=False)):
        made = translate(error)
        assert type(made) is StoreUnavailable and HEALTH[CLASSES[kind]] in str(made)


@pytest.mark.parametrize("reply", ["NOAUTH Authentication required.", "WRONGPASS invalid username-password pair or user is disabled."])
def test_a_missing_password_is_told_from_a_wrong_one(reply: str) -> None:
    error = BaseParser.parse_error(reply)
    assert isinstance(error, redis_errors.AuthenticationError)
    assert HEALTH[reply.partition(" ")[0]] in str(translate(error))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("MOVED 3999 127.0.0.1:6381", "write redis+cluster://"),
        ("ASK 3999 127.0.0.1:6381", "is moving data"),
        ("ERR SELECT is not allowed in cluster mode", "leave the number out of store.url"),
        ("ERR DB index is out of range", "no database of the number in store.url"),
    ],
)
def test_a_store_url_that_leads_to_another_kind_of_store_is_told(reply: str, told: str) -> None:
    made = translate(BaseParser.parse_error(reply))
    assert type(made) is StoreUnavailable and told in str(made)


def test_a_store_that_is_no_cluster_is_told() -> None:
    error = BaseParser.parse_error("ERR This instance has cluster support disabled")
    for raised in (error, wrapped(error, meant=True), wrapped(wrapped(error, meant=True), meant=True)):
        made = translate(raised)
        assert type(made) is StoreUnavailable and "write redis:// or rediss:// in store.url" in str(made)


def test_sentinels_that_know_no_primary_are_told() -> None:
    assert "see the service's name and sentinel_password" in str(translate(MasterNotFoundError("No master found for 'secret'")))


def tls_error(kind: type[ssl.SSLError], **said: str) -> ssl.SSLError:
    error = kind(1, "secret")
    for name, value in said.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            tls_error(ssl.SSLCertVerificationError, verify_message="certificate has expired"),
            "the key store's certificate is not accepted (certificate has expired); see the host and ca_file in store.url",
        ),
        (
            tls_error(ssl.SSLError, reason="TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "the key store refuses our side of TLS (TLSV13_ALERT_CERTIFICATE_REQUIRED); see certificate_file and key_file in store.url",
        ),
        (tls_error(ssl.SSLEOFError, reason="UNEXPECTED_EOF_WHILE_READING"), "the key store cannot be reached"),
        (ssl.SSLError("secret"), "the key store cannot be reached"),
    ],
)
def test_what_is_wrong_with_tls_is_told(error: Exception, message: str) -> None:
    # Alone, as redis-py wraps it, and as it does that once more for a Cluster.
    for raised in (error, wrapped(error, meant=False), wrapped(wrapped(error, meant=False), meant=True)):
        assert str(translate(raised)) == message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("WRONGTYPE Operation against a key", "WRONGTYPE"),
        ("NOSCRIPT", "NOSCRIPT"),
        ("A" * 32, "A" * 32),
        ("A" * 33, "A" * 32),
        # What is no word may be an argument.
        ("user_script:1: secret", "ERR"),
        ("", "ERR"),
    ],
)
def test_a_refused_command_is_told_by_its_code_alone(text: str, code: str) -> None:
    made = translate(redis_errors.ResponseError(text))
    assert type(made) is StoreRefused
    assert (made.code, str(made)) == (code, f"the key store refused a command ({code})")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TimeoutError(), "the key store did not answer in time"),
        (redis_errors.TimeoutError(), "the key store did not answer in time"),
        (redis_errors.ConnectionError("secret"), "the key store cannot be reached"),
        (redis_errors.RedisClusterException("secret"), "the key store cannot be reached"),
        (ConnectionResetError("secret"), "the key store cannot be reached"),
        (OSError("secret"), "the key store cannot be reached"),
        (RuntimeError("<TCPTransport closed=True>; the handler is closed"), "the key store cannot be reached"),
    ],
)
def test_an_outage_is_nothing_for_the_log(error: Exception, message: str, caplog: pytest.LogCaptureFixture) -> None:
    made = translate(error)
    assert (type(made), str(made), caplog.records) == (StoreUnavailable, message, [])


@pytest.mark.parametrize("error", [AttributeError("writelines"), RuntimeError("no running event loop"), Exception("is closed")])
def test_what_is_unknown_is_told_in_the_log(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    assert str(translate(error)) == "the key store cannot be reached"
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.exc_info is not None and record.exc_info[1] is error


@pytest.mark.parametrize("error", [StoreUnavailable("x"), StoreRefused("x"), StoreNotAdopted("x")])
def test_what_is_ours_stays_as_it_is(error: StoreUnavailable) -> None:
    assert translate(error) is error
