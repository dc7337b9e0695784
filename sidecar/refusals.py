"""Every way in which the data plane says no, once.

One row gives the status, the error type, the code, the sentence for the client, the outcome label
and whose fault it is. The refusals reference is generated from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fault = Literal["client", "hub", "sidecar"]
Outcome = Literal["ok", "denied", "rate_limited", "client_error", "hub_error", "client_closed", "sidecar_error"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row of the table: what the client is told, and how the request is counted."""

    code: str
    status: int
    type: str
    message: str
    outcome: Outcome
    fault: Fault
    closes: bool = False
    """The connection ends after the answer: the rest of the input cannot be trusted or is not wanted."""
    shadows: bool = False
    """Under `enforcement: shadow` the request goes on and is counted as one that would have been refused."""


class Refused(Exception):
    """Raised by a stage to end a request; `detail` replaces the row's sentence, `param` names the culprit."""

    def __init__(
        self,
        refusal: Refusal,
        detail: str = "",
        *,
        param: str | None = None,
        retry_after: float | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.detail = detail or refusal.message
        self.param = param
        self.retry_after = retry_after
        self.headers = headers


def _auth(code: str, message: str) -> Refusal:
    return Refusal(code, 401, "authentication_error", message, "denied", "client", shadows=True)


def _request(code: str, status: int, message: str, *, closes: bool = True, shadows: bool = False) -> Refusal:
    return Refusal(code, status, "invalid_request_error", message, "client_error", "client", closes=closes, shadows=shadows)


def _permission(code: str, message: str) -> Refusal:
    return Refusal(code, 403, "permission_error", message, "denied", "client", shadows=True)


def _limit(code: str, type_: str, message: str) -> Refusal:
    return Refusal(code, 429, type_, message, "rate_limited", "client", shadows=True)


MISSING_API_KEY = _auth("missing_api_key", "Send an API key: Authorization: Bearer <key>.")
INVALID_API_KEY = _auth("invalid_api_key", "This API key is not valid; compare it with the one that was issued.")
API_KEY_EXPIRED = _auth("api_key_expired", "This API key has expired; ask its issuer for a new one.")
API_KEY_REVOKED = _auth("api_key_revoked", "This API key was revoked; ask its issuer for a new one.")
API_KEY_DISABLED = _auth("api_key_disabled", "This API key is disabled; ask its issuer to enable it.")
API_KEY_ROTATED = _auth("api_key_rotated", "This secret was rotated out; use the key's current secret.")

INVALID_REQUEST = _request("invalid_request", 400, "The request is not valid HTTP/1.1.")
BAD_CREDENTIAL = _request("invalid_request", 400, "Send exactly one credential: Authorization: Bearer <key>.", closes=False)
BAD_BODY = _request("invalid_request", 400, "The request body cannot be read.", closes=False, shadows=True)
EXPECTATION_FAILED = _request("invalid_request", 417, "Only Expect: 100-continue is understood.", closes=False)
VERSION_NOT_SUPPORTED = _request("invalid_request", 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
ENCODING_NOT_SUPPORTED = _request("invalid_request", 400, "The only transfer coding understood is a single `chunked`.")
WEBSOCKET_VERSION = _request("invalid_request", 426, "Only WebSocket version 13 is spoken here.", closes=False)
LOOP_DETECTED = _request("invalid_request", 508, "The request has already passed through this sidecar.", closes=False)
METHOD_NOT_ALLOWED = _request("method_not_allowed", 405, "This method is not allowed here.", closes=False)
METHOD_REFUSED = _request("method_not_allowed", 405, "The sidecar does not serve this method.")
REQUEST_TIMEOUT = _request("request_timeout", 408, "The request did not arrive in time.")
REQUEST_TOO_LARGE = _request("request_too_large", 413, "The request body is too large.")
TOO_LARGE_TO_CHECK = _request("request_too_large", 413, "The request body is too large for its model to be checked.", shadows=True)
TARGET_TOO_LONG = _request("target_too_long", 414, "The request target is too long.")
HEADERS_TOO_LARGE = _request("headers_too_large", 431, "The request headers are too large.")
UNKNOWN_ROUTE = _request("unknown_route", 404, "The sidecar does not forward this path; check the base URL and the path.", closes=False)

ROUTE_NOT_ALLOWED = _permission("route_not_allowed", "This API key may not call this route.")
MODEL_NOT_ALLOWED = _permission("model_not_allowed", "This API key may not use this model.")
IP_NOT_ALLOWED = _permission("ip_not_allowed", "This API key may not be used from this address.")

RATE_LIMIT_EXCEEDED = _limit("rate_limit_exceeded", "rate_limit_error", "This API key has reached its rate limit; try again later.")
INSUFFICIENT_QUOTA = _limit("insufficient_quota", "insufficient_quota", "This API key has spent its quota for the period.")
ABNORMAL_USAGE_DETECTED = _limit("abnormal_usage_detected", "rate_limit_error", "This API key is throttled because its use is unusual.")
TOO_MANY_FAILURES = Refusal(
    "too_many_failures", 429, "rate_limit_error", "Too many failed attempts from this address; try again later.", "rate_limited", "client"
)

KEY_STORE_UNAVAILABLE = Refusal(
    "key_store_unavailable",
    503,
    "service_unavailable_error",
    "API keys cannot be checked at the moment; try again.",
    "sidecar_error",
    "sidecar",
)
OVERLOADED = Refusal(
    "overloaded", 503, "service_unavailable_error", "The sidecar is overloaded; try again.", "sidecar_error", "sidecar", closes=True
)
SHUTTING_DOWN = Refusal(
    "shutting_down", 503, "service_unavailable_error", "The sidecar is shutting down; try again.", "sidecar_error", "sidecar", closes=True
)
INTERNAL_ERROR = Refusal(
    "internal_error",
    500,
    "service_unavailable_error",
    "The sidecar failed; the operator's log has the reason.",
    "sidecar_error",
    "sidecar",
    closes=True,
)
HUB_UNAVAILABLE = Refusal("hub_unavailable", 502, "upstream_error", "The hub cannot be reached.", "hub_error", "hub")
HUB_BROKEN_ANSWER = Refusal("hub_unavailable", 502, "upstream_error", "The hub's answer is not valid HTTP.", "hub_error", "hub")
HUB_REJECTED_CREDENTIAL = Refusal(
    "hub_rejected_credential", 502, "upstream_error", "The hub refuses the sidecar's own access key, or got none.", "hub_error", "hub"
)
HUB_TIMEOUT = Refusal("hub_timeout", 504, "upstream_error", "The hub did not answer in time.", "hub_error", "hub")

RETRY_AFTER = {KEY_STORE_UNAVAILABLE.code: 1, OVERLOADED.code: 1, SHUTTING_DOWN.code: 1, TOO_MANY_FAILURES.code: 60}
"""Seconds of Retry-After for the refusals that know no better figure."""

TABLE: tuple[Refusal, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Refusal))
