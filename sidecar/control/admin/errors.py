"""Every way in which the admin API says no, once, in the form that the data plane uses.

`{"error": {"message", "type", "param", "code"}}`: a program reads `code`, a human reads `message`,
`param` names the member, parameter or header at fault.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from sidecar.control.audit import Unchanged
from sidecar.redaction import without_secrets


@dataclass(frozen=True, slots=True)
class Problem:
    """A row of the table; `message` is used where the raiser has nothing better to say."""

    code: str
    status: int
    type: str
    message: str
    retry_after: int = 0
    """Seconds of Retry-After; 0 sends none."""


class AdminError(Unchanged):
    """Ends a call before it has changed anything; `detail` replaces the row's sentence, `param` names the culprit.

    `faults` are `(path, sentence)` of every member at fault, where more than the first is known.
    """

    def __init__(
        self,
        problem: Problem,
        detail: str = "",
        *,
        param: str | None = None,
        retry_after: int = 0,
        faults: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(problem.code)
        self.problem = replace(problem, retry_after=retry_after) if retry_after else problem
        # Sentences repeat what was sent, and a secret may have been sent in a wrong place.
        self.detail = without_secrets(detail) or problem.message
        self.param = without_secrets(param) if param is not None else None
        self.faults = tuple((without_secrets(path), without_secrets(fault)) for path, fault in faults) or ((self.param or "", self.detail),)


class Fault(msgspec.Struct, frozen=True):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: Fault


def body(error: AdminError) -> ErrorBody:
    """What the client reads."""
    return ErrorBody(Fault(error.detail, error.problem.type, error.param, error.problem.code))


def _request(code: str, status: int, message: str) -> Problem:
    return Problem(code, status, "invalid_request_error", message)


def _unavailable(code: str, message: str) -> Problem:
    return Problem(code, 503, "service_unavailable_error", message, retry_after=1)


INVALID_REQUEST = _request("invalid_request", 400, "The request is not valid.")
MISSING_ADMIN_TOKEN = Problem(
    "missing_admin_token", 401, "authentication_error", "Send an admin token: Authorization: Bearer <admin token>."
)
INVALID_ADMIN_TOKEN = Problem("invalid_admin_token", 401, "authentication_error", "This admin token is not valid.")
API_KEY_PRESENTED = Problem(
    "invalid_admin_token",
    401,
    "authentication_error",
    "API keys are not accepted here; use an admin token, the first one is in <data_dir>/admin-token.",
)
FORBIDDEN = Problem("forbidden", 403, "permission_error", "The role of this admin token does not allow this.")
NOT_FOUND = _request("not_found", 404, "There is nothing here; see GET /admin/v1/openapi.json.")
METHOD_NOT_ALLOWED = _request("method_not_allowed", 405, "This method is not allowed here.")
CONFLICT = _request("conflict", 409, "The object has changed since it was read; read it again and repeat the change.")
KEY_REVOKED = _request("key_revoked", 409, "This key is revoked, which is final; create a new key.")
IDEMPOTENCY_CONFLICT = _request(
    "idempotency_conflict", 409, "This Idempotency-Key was used with another request; use a new one for each intent."
)
REQUEST_TOO_LARGE = _request("request_too_large", 413, "The request body is too large.")
UNSUPPORTED_MEDIA_TYPE = _request("unsupported_media_type", 415, "Send JSON: Content-Type: application/json.")
MISDIRECTED = _request("host_not_allowed", 421, "This host name is not served here; add it to admin.allowed_hosts in the configuration.")
TOO_MANY_FAILURES = Problem(
    "too_many_failures", 429, "rate_limit_error", "Too many failed attempts from this address; try again later.", retry_after=60
)
INTERNAL_ERROR = Problem("internal_error", 500, "service_unavailable_error", "The sidecar failed; the operator's log has the reason.")
KEY_STORE_UNAVAILABLE = _unavailable("key_store_unavailable", "The key store cannot be reached at the moment; try again.")
AUDIT_JOURNAL_UNAVAILABLE = _unavailable(
    "audit_journal_unavailable", "Nothing was done, for no record of it can be written to data_dir; see to its disk, then try again."
)
STORE_NOT_ADOPTED = _unavailable(
    "key_store_unavailable",
    "The key store is not the one that this sidecar knows; look into it, then run `sidecar store adopt` to accept it.",
)

TABLE: tuple[Problem, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Problem))
