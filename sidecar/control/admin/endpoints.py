"""Every call of the admin API, once: routing, validation, roles and the OpenAPI document are read off these."""

from __future__ import annotations

from typing import Any

from sidecar.control.admin.endpoint import Endpoint, Nothing
from sidecar.control.admin.errors import CONFLICT, IDEMPOTENCY_CONFLICT, KEY_REVOKED, NOT_FOUND
from sidecar.control.admin.messages import anomalies, keys, operations, usage
from sidecar.keys.issue import MOST_SECRETS

_V1 = "/admin/v1"
_KEYS = f"{_V1}/keys"
_KEY = f"{_KEYS}/{{key_id}}"
_ANOMALY = f"{_V1}/anomalies/{{anomaly_id}}"
_IMPORT_BOUND = 32 << 20

CREATE_KEY = Endpoint(
    "POST", _KEYS, "keys.create", "Create a key", "operator", {201: keys.KeyWithSecret, 200: keys.KeyWithSecret}, Nothing, keys.NewKey,
    (IDEMPOTENCY_CONFLICT,), idempotent=True,
    description="The secret is in this answer and nowhere else. A repeat with the same Idempotency-Key answers 200 without it.",
)  # fmt: skip
LIST_KEYS = Endpoint("GET", _KEYS, "keys.list", "List keys", "viewer", {200: keys.KeyList}, keys.KeysQuery, Nothing)
GET_KEY = Endpoint("GET", _KEY, "keys.get", "One key", "viewer", {200: keys.KeyAnswer}, Nothing, Nothing)
CHANGE_KEY = Endpoint(
    "PATCH", _KEY, "keys.change", "Change a key", "operator", {200: keys.KeyAnswer}, Nothing, keys.KeyChange, (CONFLICT, KEY_REVOKED),
    conditional=True, description="Members that are absent stay as they are; null clears. A revoked key cannot be changed.",
)  # fmt: skip
ROTATE_KEY = Endpoint(
    "POST", f"{_KEY}/rotate", "keys.rotate", "Give a key a new secret", "operator", {200: keys.KeyWithSecret}, Nothing, keys.Rotation,
    (CONFLICT, KEY_REVOKED, IDEMPOTENCY_CONFLICT), idempotent=True, conditional=True,
    description=f"Id, limits and history stay. The old secret is valid for the grace period, and none for longer. While "
    f"{MOST_SECRETS} secrets are valid, only a grace period of 0s is possible: else the answer is 409 and names the one that ends first.",
)  # fmt: skip
REVOKE_KEY = Endpoint(
    "POST", f"{_KEY}/revoke", "keys.revoke", "Revoke a key for ever", "operator", {200: keys.KeyRevoked}, Nothing, keys.Because,
    (CONFLICT,), conditional=True, description="Repeating it changes nothing.",
)  # fmt: skip
DISABLE_KEY = Endpoint(
    "POST", f"{_KEY}/disable", "keys.disable", "Refuse a key until it is enabled", "operator", {200: keys.KeyAnswer}, Nothing, keys.Because,
    (CONFLICT, KEY_REVOKED), conditional=True,
)  # fmt: skip
ENABLE_KEY = Endpoint(
    "POST", f"{_KEY}/enable", "keys.enable", "Accept a disabled key again", "operator", {200: keys.KeyAnswer}, Nothing, keys.Because,
    (CONFLICT, KEY_REVOKED), conditional=True,
)  # fmt: skip
IMPORT_KEY = Endpoint(
    "POST", f"{_KEYS}/import", "keys.import", "Import an existing token", "operator", {201: keys.KeyAnswer}, Nothing, keys.ImportedKey,
    (CONFLICT,),
    description="Needs `keys.accept_imported`. The token is known by its SHA-256 until its first use, then by the keyed digest.",
)  # fmt: skip
IMPORT_LINES = Endpoint(
    "POST", f"{_KEYS}/import/lines", "keys.import_lines", "Import many tokens", "operator", {200: keys.ImportReport}, Nothing, Nothing,
    (CONFLICT,), body_media="application/x-ndjson", body_bound=_IMPORT_BOUND,
    description="JSON Lines, each as the body of `keys.import`, at most 32 MiB and 400,000 lines. Good lines are imported, "
    "the report names the others.",
)  # fmt: skip
IDENTIFY = Endpoint(
    "POST", f"{_KEYS}/identify", "keys.identify", "Whose token is this", "operator", {200: keys.Identified}, Nothing, keys.Leaked,
    (NOT_FOUND,),
    description=f"Blanks around the token and a leading `Bearer` do not matter. Each key remembers its {MOST_SECRETS} latest secrets only: "
    "a token that has been dead for longer than that is not found either.",
)  # fmt: skip
LIST_SECRETS = Endpoint(
    "GET", f"{_KEY}/secrets", "secrets.list", "The secrets of a key and who uses them", "viewer", {200: keys.SecretList}, Nothing, Nothing
)
REVOKE_SECRET = Endpoint(
    "POST", f"{_KEY}/secrets/{{secret_id}}/revoke", "secrets.revoke", "End the overlap of a rotation now", "operator",
    {200: keys.KeyAnswer}, Nothing, keys.Because, (CONFLICT, KEY_REVOKED),
    description="The current secret cannot be ended this way: rotate or revoke the key.",
)  # fmt: skip

KEY_USAGE = Endpoint(
    "GET",
    f"{_KEY}/usage",
    "usage.key",
    "Use of one key",
    "viewer",
    {200: usage.UsageAnswer},
    usage.UsageQuery,
    Nothing,
    media=("text/csv",),
)
USAGE = Endpoint(
    "GET",
    f"{_V1}/usage",
    "usage.all",
    "Use of all keys",
    "viewer",
    {200: usage.UsageAnswer},
    usage.UsageQuery,
    Nothing,
    media=("text/csv",),
)
REQUESTS = Endpoint(
    "GET", f"{_V1}/requests", "requests.list", "The call log, newest first", "viewer", {200: usage.CallList}, usage.CallsQuery, Nothing,
    media=("text/csv",), description="Bounded by the configured age and size. As CSV it is not paged: without a limit it is the whole log.",
)  # fmt: skip
SHADOW_REPORT = Endpoint(
    "GET", f"{_V1}/shadow-report", "shadow.report", "Which clients enforcement would break", "viewer", {200: usage.ShadowReport},
    usage.ShadowQuery, Nothing, description="From the call log, newest 50,000 calls of the span at most.",
)  # fmt: skip

LIST_ANOMALIES = Endpoint(
    "GET", f"{_V1}/anomalies", "anomalies.list", "Anomalies with their evidence", "viewer", {200: anomalies.AnomalyList},
    anomalies.AnomaliesQuery, Nothing,
)  # fmt: skip
ACKNOWLEDGE = Endpoint(
    "POST", f"{_ANOMALY}/acknowledge", "anomalies.acknowledge", "Say that an anomaly is dealt with", "operator",
    {200: anomalies.AnomalyAnswer}, Nothing, anomalies.Acknowledgement,
)  # fmt: skip
MUTE = Endpoint(
    "POST", f"{_ANOMALY}/mute", "anomalies.mute", "Silence an anomaly's signals for its key", "operator", {200: anomalies.AnomalyAnswer},
    Nothing, anomalies.Mute,
)  # fmt: skip

AUDIT_EVENTS = Endpoint(
    "GET", f"{_V1}/audit-events", "audit.list", "Who did what to which key, when, from where", "viewer", {200: operations.AuditList},
    operations.AuditQuery, Nothing, media=("application/x-ndjson",),
    description="As JSON Lines it is not paged, oldest first, and each line can be checked against the hash of the line before.",
)  # fmt: skip
VERIFY_AUDIT = Endpoint(
    "GET", f"{_V1}/audit-events/verify", "audit.verify", "Recompute the chain of the audit log", "viewer", {200: operations.AuditVerdict},
    Nothing, Nothing,
)  # fmt: skip

LIST_ADMIN_TOKENS = Endpoint(
    "GET", f"{_V1}/admin-tokens", "admin_tokens.list", "List admin tokens", "admin", {200: operations.AdminTokenList}, Nothing, Nothing
)
CREATE_ADMIN_TOKEN = Endpoint(
    "POST", f"{_V1}/admin-tokens", "admin_tokens.create", "Create an admin token", "admin", {201: operations.AdminTokenWithSecret}, Nothing,
    operations.NewAdminToken,
)  # fmt: skip
REVOKE_ADMIN_TOKEN = Endpoint(
    "DELETE", f"{_V1}/admin-tokens/{{token_id}}", "admin_tokens.revoke", "Revoke an admin token", "admin",
    {200: operations.AdminTokenAnswer}, Nothing, Nothing, (CONFLICT,),
)  # fmt: skip

STATUS = Endpoint(
    "GET", f"{_V1}/status", "status.get", "Store, hub, workers, lease age, spool backlog, versions", "viewer",
    {200: operations.StatusAnswer}, Nothing, Nothing,
)  # fmt: skip
WHOAMI = Endpoint(
    "GET", f"{_V1}/whoami", "status.whoami", "Who is calling, in which role", "viewer", {200: operations.WhoAmI}, Nothing, Nothing
)
OPENAPI = Endpoint("GET", f"{_V1}/openapi.json", "status.openapi", "This description", None, {200: None}, Nothing, Nothing)

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Endpoint))
