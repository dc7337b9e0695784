"""The dashboard of all keys together: how much, how well, who."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import Column, Graph, Number, Query, Shown, Table, add_row, board, key_names

_ALL = "sum(rate(sidecar_key_requests_total[$__rate_interval]))"
_FAILED = 'sum(rate(sidecar_key_requests_total{outcome=~"hub_error|sidecar_error"}[$__rate_interval])) or vector(0)'
_REFUSED = 'sum(rate(sidecar_key_requests_total{outcome=~"denied|rate_limited"}[$__rate_interval])) or vector(0)'
_KEYS = 'max by (key_id) (sidecar_key_last_used_timestamp_seconds{key_id!="_overflow"})'
_REQUESTS_OF_KEYS = "sum by (key_id) (increase(sidecar_key_requests_total[$__range])) > 0"
_TOKENS_OF_KEYS = 'sum by (key_id) (increase(sidecar_key_tokens_total{token_type=~"input|output"}[$__range])) > 0'

NOW: tuple[Shown, ...] = (
    Number("Requests", "Finished requests of all keys, each second.", "reqps", _ALL, now=False, width=4),
    Number(
        "Failed",
        "Share of the requests that ended with an error of the hub or of the sidecar.",
        "percentunit",
        f"({_FAILED}) / ({_ALL} > 0)",
        steps=((0.01, "yellow"), (0.05, "red")),
        now=False,
        width=4,
    ),
    Number(
        "Refused",
        "Share of the requests with a known key that the sidecar itself refused: not allowed, or over a limit.",
        "percentunit",
        f"({_REFUSED}) / ({_ALL} > 0)",
        steps=((0.05, "yellow"), (0.25, "red")),
        now=False,
        width=4,
    ),
    Number(
        "Under way",
        "Requests at this moment.",
        "short",
        "sum(sidecar_key_in_flight)",
        width=3,
    ),
    Number(
        "Keys in use",
        "Keys that finished a request within the last hour, among those with series of their own.",
        "short",
        f"count({_KEYS} > time() - 3600) or vector(0)",
        width=3,
    ),
    Number(
        "Keys with signals",
        "Keys of which something unusual is seen at this moment; the security dashboard tells what.",
        "short",
        "count(count by (key_id) (sidecar_key_signal_active == 1)) or vector(0)",
        steps=((1, "yellow"),),
        width=3,
    ),
    Number(
        "Alerts",
        "Alerts of the sidecar that fire.",
        "short",
        'count(ALERTS{alertstate="firing", alertname=~"(Sidecar|ApiKey|AdminToken).+", severity=~"warning|critical"}) or vector(0)',
        steps=((1, "red"),),
        width=3,
    ),
)

TRAFFIC: tuple[Shown, ...] = (
    Graph(
        "Requests by outcome",
        "Each finished request of a known key under the one outcome that it had.",
        "reqps",
        [Query("sum by (outcome) (rate(sidecar_key_requests_total[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    ),
    Graph(
        "Refusals and errors by reason",
        "Why requests of known keys were not served: the code of the refusal, or the class of the hub's status.",
        "reqps",
        [Query('sum by (reason) (rate(sidecar_key_requests_total{reason!=""}[$__rate_interval]))', "{{reason}}")],
        stacked=True,
    ),
    Graph(
        "Requests by model",
        "The ten models with the most requests.",
        "reqps",
        [Query("topk(10, sum by (model) (rate(sidecar_model_requests_total[$__rate_interval])))", "{{model}}")],
        stacked=True,
    ),
    Graph(
        "Answers by status",
        "All answers of the data plane, those without a key too.",
        "reqps",
        [Query("sum by (status_class) (rate(sidecar_http_request_duration_seconds_count[$__rate_interval]))", "{{status_class}}")],
        stacked=True,
    ),
)


def _quantiles(metric: str) -> list[Query]:
    return [
        Query(f"histogram_quantile(0.{number}, sum by (le) (rate({metric}_bucket[$__rate_interval])))", f"p{number}")
        for number in (50, 95, 99)
    ]


LATENCY: tuple[Shown, ...] = (
    Graph(
        "Duration of requests",
        "From a request's whole head to the last byte of the answer; a stream lasts as long as its client reads.",
        "s",
        _quantiles("sidecar_http_request_duration_seconds"),
        exemplars=True,
    ),
    Graph(
        "Wait for the hub by route",
        "Time until the hub's answer began, of nineteen in twenty requests.",
        "s",
        [
            Query(
                "histogram_quantile(0.95, sum by (route, le) (rate(sidecar_upstream_time_to_first_byte_seconds_bucket[$__rate_interval])))",
                "{{route}}",
            )
        ],
        exemplars=True,
    ),
)

USE: tuple[Shown, ...] = (
    Graph(
        "Tokens",
        "As the hub reports them; cached ones may be part of the input.",
        "short",
        [Query("sum by (token_type) (rate(sidecar_key_tokens_total[$__rate_interval]))", "{{token_type}} a second")],
    ),
    Graph(
        "Tokens of a call",
        "Size of the middle call and of the one in twenty that is larger.",
        "short",
        [
            Query(
                f"histogram_quantile({share}, sum by (token_type, le) (rate(sidecar_gen_ai_tokens_bucket[$__rate_interval])))",
                f"{{{{token_type}}}} {name}",
            )
            for share, name in ((0.5, "p50"), (0.95, "p95"))
        ],
    ),
    Graph(
        "Bytes",
        "Bodies of requests and answers.",
        "Bps",
        [Query("sum by (direction) (rate(sidecar_key_bytes_total[$__rate_interval]))", "{{direction}}")],
    ),
    Graph(
        "Answers without usage",
        "Share of the successful answers of models in which the hub named no tokens: figures are too low by about that.",
        "percentunit",
        [
            Query(
                "sum(rate(sidecar_key_usage_missing_total[$__rate_interval]))"
                ' / (sum(rate(sidecar_key_requests_total{outcome="ok"}[$__rate_interval])) > 0)',
                "without usage",
            )
        ],
    ),
    Table(
        "Keys by requests",
        "The 20 keys with the most finished requests in the range shown. _overflow is the sum of the keys beyond metrics.max_keys.",
        "short",
        f"topk(20, {key_names(_REQUESTS_OF_KEYS)})",
        [Column("name", "Name"), Column("owner", "Owner"), Column("key_id", "Key"), Column("Value", "Requests")],
    ),
    Table(
        "Keys by tokens",
        "The 20 keys with the most input and output tokens in the range shown.",
        "short",
        f"topk(20, {key_names(_TOKENS_OF_KEYS)})",
        [Column("name", "Name"), Column("owner", "Owner"), Column("key_id", "Key"), Column("Value", "Tokens")],
    ),
)


def build() -> Dashboard:
    """The dashboard."""
    made = board("sidecar-fleet", "Sidecar / Fleet", "All keys of all replicas: how much they do, how well it goes, who they are.", [])
    number = 1
    for title, shown in (("Now", NOW), ("Traffic", TRAFFIC), ("Latency", LATENCY), ("Use", USE)):
        number = add_row(made, number, title, shown)
    return made
