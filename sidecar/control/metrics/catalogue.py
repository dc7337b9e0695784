"""Every metric family that /metrics can show: its name, type, labels and text. docs/metrics.md is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "summary"]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family. A counter's `name` ends in `_total`, as its samples do."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    def head(self, *, openmetrics: bool) -> str:
        """The HELP and TYPE lines; OpenMetrics names a counter's family without `_total`."""
        name = self.name.removesuffix("_total") if openmetrics and self.kind == "counter" else self.name
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.kind}\n"


def _counter(name: str, labels: tuple[str, ...], text: str) -> Family:
    return Family(name, "counter", labels, text)


def _gauge(name: str, labels: tuple[str, ...], text: str) -> Family:
    return Family(name, "gauge", labels, text)


def _histogram(name: str, labels: tuple[str, ...], text: str) -> Family:
    return Family(name, "histogram", labels, text)


_KEY = ("key_id",)

KEY_REQUESTS = _counter("sidecar_key_requests_total", ("key_id", "outcome", "reason"), "Finished requests, each under one outcome.")
KEY_TOKENS = _counter("sidecar_key_tokens_total", ("key_id", "token_type"), "Tokens that the hub reports for a key.")
KEY_USAGE_MISSING = _counter("sidecar_key_usage_missing_total", _KEY, "Successful answers of a model in which the hub reported no use.")
KEY_RECONCILED = _counter(
    "sidecar_metering_reconciled_total", _KEY, "Calls to which the hub's ledger added what their answers had not said."
)
KEY_DRIFT = _gauge(
    "sidecar_metering_drift_tokens", _KEY, "Tokens that the hub's ledger had beyond the sidecar's count when it was last asked about a key."
)
KEY_BYTES = _counter("sidecar_key_bytes_total", ("key_id", "direction"), "Body bytes of a key's requests and responses.")
KEY_DURATION = Family(
    "sidecar_key_request_duration_seconds",
    "summary",
    _KEY,
    "Time that a key's requests took, from the whole head to the answer's last byte.",
)
KEY_IN_FLIGHT = _gauge("sidecar_key_in_flight", _KEY, "Requests of a key that are under way.")
KEY_LAST_USED = _gauge("sidecar_key_last_used_timestamp_seconds", _KEY, "End of a key's latest request; 0 when it was never used.")
KEY_CREATED = _gauge("sidecar_key_created_timestamp_seconds", _KEY, "When a key was created.")
KEY_EXPIRES = _gauge("sidecar_key_expires_timestamp_seconds", _KEY, "When a key expires; absent when it never does.")
KEY_NETWORKS = _gauge("sidecar_key_source_networks", _KEY, "Distinct client networks (/24, /48) of a key in 10 minutes, 64 at most.")
KEY_SIGNAL = _gauge("sidecar_key_signal_active", ("key_id", "signal"), "1 while a signal of unusual use is active for a key.")
KEY_SIGNALS = _counter("sidecar_key_signals_total", ("key_id", "signal"), "Signals of unusual use that were raised for a key.")
KEY_SECRETS = _counter("sidecar_secret_requests_total", ("key_id", "secret_state"), "Requests by the state of the secret used.")
KEY_INFO = _gauge("sidecar_key_info", ("key_id", "name", "owner"), "Name and owner of a key, to join with; always 1.")
SHADOW = _counter("sidecar_shadow_denied_total", ("key_id", "reason"), "Requests let pass that would be refused if enforced.")
FAILURES = _counter("sidecar_auth_failures_total", ("reason",), "Requests that were refused without a known key.")

DURATION = _histogram(
    "sidecar_http_request_duration_seconds",
    ("route", "method", "status_class"),
    "Time from a request's whole head to the answer's last byte.",
)
OVERHEAD = _histogram("sidecar_overhead_seconds", ("phase",), "The sidecar's own share: auth is checking the key, proxy the rest.")
FIRST_BYTE = _histogram(
    "sidecar_upstream_time_to_first_byte_seconds",
    ("route", "streaming"),
    "Time until the hub's answer began, from the request's start.",
)
TOKENS = _histogram("sidecar_gen_ai_tokens", ("model", "token_type"), "Tokens for each metered call.")
MODELS = _counter("sidecar_model_requests_total", ("model", "outcome"), "Requests by model; models beyond the first 100 are other.")
WEBHOOKS = _counter(
    "sidecar_webhook_attempts_total",
    ("outcome",),
    "Attempts to deliver a notification: delivered, failed and tried again later, or given_up.",
)
MANY_KEYS = _gauge("sidecar_sources_many_keys", (), "Client networks that presented at least 5 distinct keys in 10 minutes.")
CACHE = _counter("sidecar_auth_cache_requests_total", ("result",), "Look-ups in the workers' key caches.")
STORE_UP = _gauge("sidecar_redis_up", (), "1 when the store answers the control process.")
STORE_DURATION = _histogram("sidecar_redis_command_duration_seconds", ("command",), "Time of the control process's trips to the store.")
REVOCATION = _histogram("sidecar_key_revocation_propagation_seconds", (), "Time from a key's revocation until a worker had seen it.")
AUDIT = _counter("sidecar_audit_events_total", ("action", "result"), "Administrative acts written to the audit log.")
TRACKED = _gauge("sidecar_metrics_tracked_keys", (), "Keys with series of their own.")
KEY_LIMIT = _gauge("sidecar_metrics_key_limit", (), "metrics.max_keys.")
OVERFLOWN = _gauge("sidecar_metrics_overflow_keys", (), "Keys that are counted under key_id _overflow.")
WEIGHT = _gauge("sidecar_signal_weight", ("signal",), "What a signal of unusual use counts towards a key's risk.")
READY = _gauge("sidecar_ready", (), "1 when /readyz answers 200.")
BUILD = _gauge("sidecar_build_info", ("version", "python"), "The running version; always 1.")

LOOP_LAG = _gauge("sidecar_event_loop_lag_seconds", ("worker",), "How late a worker's event loop ran in the last second.")
LEASE_AGE = _gauge(
    "sidecar_worker_lease_age_seconds", ("worker",), "Age of a worker's proof that it has seen every change of a key; absent without one."
)
CONNECTIONS = _gauge("sidecar_worker_connections", ("worker",), "Open client connections.")
HUB_CONNECTIONS = _gauge("sidecar_worker_hub_connections", ("worker",), "Open connections to the hub.")
WORKER_STORE_UP = _gauge("sidecar_worker_store_up", ("worker",), "1 when the store answers a worker.")
DRAINS = _gauge("sidecar_worker_drains", ("worker",), "Hub answers that are read on for their use after the client has gone.")
WORKERS = _gauge("sidecar_workers", (), "Workers that reported within 3 seconds.")
WORKERS_CONFIGURED = _gauge("sidecar_workers_configured", (), "Workers that should run: proxy.workers.")
DROPPED = _counter("sidecar_spool_dropped_total", (), "Events lost because the disk or spool.max_bytes did not allow them.")
SPOOL_BYTES = _gauge("sidecar_spool_bytes", (), "Disk that the spools take.")
BACKLOG = _gauge("sidecar_metering_pending_bytes", (), "Spooled bytes that the store does not have yet.")
CORRUPT = _counter("sidecar_spool_corrupt_total", (), "Damaged stretches of spools that were put aside.")
RECONCILE_WAITING = _gauge("sidecar_metering_unreconciled_calls", (), "Calls still waiting for the hub's ledger.")
RECONCILE_GIVEN_UP = _counter(
    "sidecar_metering_given_up_total", (), "Calls that the hub's ledger did not show in time, or that were too many to remember."
)
RECONCILE_UP = _gauge("sidecar_metering_ledger_up", (), "1 when the hub's ledger answered when it was last asked.")
LOG_DROPPED = _counter("sidecar_access_log_dropped_total", (), "Access log lines dropped because standard output did not take them.")

WORKER_COUNTERS = (
    _counter("sidecar_requests_started_total", (), "Requests whose headers were read; what finished less than this is under way or lost."),
    _counter("sidecar_upstream_truncated_total", (), "Hub answers that broke off."),
    _counter("sidecar_connections_total", (), "Client connections accepted."),
    _counter("sidecar_drained_total", ("result",), "Hub answers that were read on for their use after the client had gone."),
)
"""Counted by the workers; a worker's record names them so, with a label's value after a colon."""

CATALOGUE: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family)) + WORKER_COUNTERS
