"""The dashboard of the sidecar itself."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import Column, Graph, Number, Query, Shown, Table, add_row, board, instance_variable

_HERE = 'instance=~"$instance"'


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{_HERE}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str) -> str:
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'{by}, le')})"


NOW: tuple[Shown, ...] = (
    Number(
        "Ready",
        "The least ready of the chosen replicas.",
        "short",
        f"min(sidecar_ready{{{_HERE}}})",
        steps=((0, "red"), (1, "green")),
        texts={"0": "no", "1": "yes"},
    ),
    Number(
        "Store",
        "Whether the key store answers every chosen replica.",
        "short",
        f"min(sidecar_redis_up{{{_HERE}}})",
        steps=((0, "red"), (1, "green")),
        texts={"0": "down", "1": "up"},
    ),
    Number("Workers", "Those that reported within three seconds.", "short", f"sum(sidecar_workers{{{_HERE}}})"),
    Number(
        "Revocation",
        "Time until all but one in a hundred revocations had reached a worker. A revoked key must be dead within two seconds.",
        "s",
        f"histogram_quantile(0.99, sum by (le) (increase(sidecar_key_revocation_propagation_seconds_bucket{{{_HERE}}}[$__range])))",
        steps=((1, "yellow"), (2, "red")),
    ),
    Number(
        "Events lost",
        "Records of requests that the disk did not take or that were damaged, in the range shown. What was lost is in no usage figure.",
        "short",
        " + ".join(f"sum(increase(sidecar_spool_{what}_total{{{_HERE}}}[$__range]))" for what in ("dropped", "corrupt")),
        steps=((1, "red"),),
    ),
    Number(
        "Not yet in the store",
        "Spooled bytes of finished requests: usage and quotas lag behind by that.",
        "bytes",
        f"sum(sidecar_metering_pending_bytes{{{_HERE}}})",
        steps=((1024**2, "yellow"), (64 * 1024**2, "red")),
    ),
    Table(
        "Versions",
        "What runs where.",
        "short",
        f"max by (instance, version, python) (sidecar_build_info{{{_HERE}}})",
        [Column("instance", "Instance"), Column("version", "Version"), Column("python", "Python"), Column("Value", "Up")],
        width=6,
        height=4,
    ),
)

WORKERS: tuple[Shown, ...] = (
    Graph(
        "What the sidecar adds to a request",
        "auth is checking the key, proxy the rest.",
        "s",
        [
            Query(_quantile(0.5, "sidecar_overhead_seconds", "phase"), "{{phase}} p50"),
            Query(_quantile(0.99, "sidecar_overhead_seconds", "phase"), "{{phase}} p99"),
        ],
    ),
    Graph(
        "Event loops",
        "How late a worker's loop ran in the last second. A worker that is always late has more to do than one core can.",
        "s",
        [Query(f"max by (instance, worker) (sidecar_event_loop_lag_seconds{{{_HERE}}})", "{{instance}} {{worker}}")],
    ),
    Graph(
        "Connections",
        "Open ones, of clients and to the hub.",
        "short",
        [
            Query(f"sum by (instance) (sidecar_worker_connections{{{_HERE}}})", "{{instance}} clients"),
            Query(f"sum by (instance) (sidecar_worker_hub_connections{{{_HERE}}})", "{{instance}} hub"),
        ],
    ),
    Graph(
        "New connections and requests",
        "Many connections for few requests are clients that do not keep theirs open.",
        "cps",
        [
            Query(_rate("sidecar_connections_total", "instance"), "{{instance}} connections"),
            Query(_rate("sidecar_requests_started_total", "instance"), "{{instance}} requests begun"),
            Query(_rate("sidecar_http_request_duration_seconds_count", "instance"), "{{instance}} requests finished"),
        ],
    ),
    Graph(
        "Workers by instance",
        "Those that reported within three seconds, and how many there are to be.",
        "short",
        [
            Query(f"max by (instance) (sidecar_workers{{{_HERE}}})", "{{instance}}"),
            Query(f"max by (instance) (sidecar_workers_configured{{{_HERE}}})", "{{instance}} configured"),
        ],
    ),
    Graph(
        "Hub answers that broke off, and those read on for their use",
        "drains are answers read on at this moment because their client has gone.",
        "short",
        [
            Query(_rate("sidecar_upstream_truncated_total", "instance"), "{{instance}} broken off a second"),
            Query(_rate("sidecar_drained_total", "result"), "read on a second: {{result}}"),
            Query(f"sum by (instance) (sidecar_worker_drains{{{_HERE}}})", "{{instance}} drains"),
        ],
    ),
)

STORE: tuple[Shown, ...] = (
    Graph(
        "Look-ups of keys",
        "How the workers' caches answered.",
        "ops",
        [Query(_rate("sidecar_auth_cache_requests_total", "result"), "{{result}}")],
        stacked=True,
    ),
    Graph(
        "Trips to the store",
        "Time that all but one in a hundred of the control process's trips took.",
        "s",
        [Query(_quantile(0.99, "sidecar_redis_command_duration_seconds", "command"), "{{command}}")],
    ),
    Graph(
        "Age of the lease",
        "How old each worker's proof is that it has seen every change of a key. From 1.5 s on it asks the store for each request.",
        "s",
        [Query(f"max by (instance, worker) (sidecar_worker_lease_age_seconds{{{_HERE}}})", "{{instance}} {{worker}}")],
    ),
    Graph(
        "Store as the workers see it",
        "1 while it answers.",
        "short",
        [Query(f"min by (instance, worker) (sidecar_worker_store_up{{{_HERE}}})", "{{instance}} {{worker}}")],
    ),
    Graph(
        "Revocations",
        "Time until a worker had applied them.",
        "s",
        [
            Query(_quantile(0.5, "sidecar_key_revocation_propagation_seconds", "instance"), "{{instance}} p50"),
            Query(_quantile(0.99, "sidecar_key_revocation_propagation_seconds", "instance"), "{{instance}} p99"),
        ],
    ),
)

EVENTS: tuple[Shown, ...] = (
    Graph(
        "Spool",
        "Disk that events take, and the part that the store does not have yet.",
        "bytes",
        [
            Query(f"sum by (instance) (sidecar_spool_bytes{{{_HERE}}})", "{{instance}} on disk"),
            Query(f"sum by (instance) (sidecar_metering_pending_bytes{{{_HERE}}})", "{{instance}} pending"),
        ],
    ),
    Graph(
        "Lost",
        "Events that the disk or spool.max_bytes did not allow, damaged stretches, and access log lines that standard output did not take.",
        "short",
        [
            Query(f"sum by (instance) (increase(sidecar_spool_dropped_total{{{_HERE}}}[$__rate_interval]))", "{{instance}} events"),
            Query(f"sum by (instance) (increase(sidecar_spool_corrupt_total{{{_HERE}}}[$__rate_interval]))", "{{instance}} stretches"),
            Query(f"sum by (instance) (increase(sidecar_access_log_dropped_total{{{_HERE}}}[$__rate_interval]))", "{{instance}} log lines"),
        ],
    ),
    Graph(
        "The hub's ledger",
        "Calls whose answers named no use: filled in from the hub's own ledger, waiting for it, given up. Empty while that is off.",
        "short",
        [
            Query(f"sum(sidecar_metering_unreconciled_calls{{{_HERE}}})", "waiting"),
            Query(f"sum(increase(sidecar_metering_reconciled_total{{{_HERE}}}[$__rate_interval]))", "filled in"),
            Query(f"sum(increase(sidecar_metering_given_up_total{{{_HERE}}}[$__rate_interval]))", "given up"),
            Query(f"min(sidecar_metering_ledger_up{{{_HERE}}})", "1 while the ledger answers"),
        ],
    ),
    Graph(
        "Drift of keys",
        "Tokens that the hub's ledger had beyond the sidecar's count when it was last asked: the ten keys with the most.",
        "short",
        [Query("topk(10, sum by (key_id) (sidecar_metering_drift_tokens))", "{{key_id}}")],
    ),
    Graph(
        "Scrapes",
        "Time that Prometheus waits for /metrics. Near scrape_timeout, samples and with them alerts go missing.",
        "s",
        [Query(f'max by (instance) (scrape_duration_seconds{{job="sidecar", {_HERE}}})', "{{instance}}")],
        width=8,
    ),
    Graph(
        "Keys with series of their own",
        "Beyond the limit (metrics.max_keys) keys add up under _overflow.",
        "short",
        [
            Query(f"max by (instance) (sidecar_metrics_tracked_keys{{{_HERE}}})", "{{instance}} keys"),
            Query(f"max by (instance) (sidecar_metrics_overflow_keys{{{_HERE}}})", "{{instance}} beyond the limit"),
            Query(f"max by (instance) (sidecar_metrics_key_limit{{{_HERE}}})", "{{instance}} limit"),
        ],
        width=8,
    ),
    Graph(
        "Memory of the control process",
        "It holds what the detection remembers of each key: about 3 kB.",
        "bytes",
        [Query(f'process_resident_memory_bytes{{job="sidecar", {_HERE}}}', "{{instance}}")],
        width=8,
    ),
)


def build() -> Dashboard:
    """The dashboard."""
    made = board("sidecar-health", "Sidecar / Health", "The sidecar itself: processes, store, events.", [instance_variable()])
    number = 1
    for title, shown in (("Now", NOW), ("Data plane", WORKERS), ("Keys and store", STORE), ("Events and metrics", EVENTS)):
        number = add_row(made, number, title, shown)
    return made
