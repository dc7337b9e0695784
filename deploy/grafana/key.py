"""The dashboard of one key."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import KEY_DASHBOARD, Column, Graph, Number, Query, Shown, Table, add_row, board, increase, query_variable

_REQUESTS = 'sidecar_key_requests_total{key_id="$key_id"}'
_SIGNALS = 'sidecar_key_signals_total{key_id="$key_id"}'

FACTS: tuple[Shown, ...] = (
    Number("Requests", "Finished in the range shown.", "short", f"sum(increase({_REQUESTS}[$__range]))"),
    Number(
        "Tokens",
        "Input and output tokens that the hub reported in the range shown.",
        "short",
        'sum(increase(sidecar_key_tokens_total{key_id="$key_id", token_type=~"input|output"}[$__range]))',
    ),
    Number("Under way", "Requests at this moment.", "short", 'sum(sidecar_key_in_flight{key_id="$key_id"})'),
    Number(
        "Risk",
        "Weight of the signals that are up together; from 6 on, with one that speaks of another holder, the key is taken for stolen.",
        "short",
        'max(key:sidecar_risk:sum{key_id="$key_id"}) or vector(0)',
        steps=((1, "yellow"), (6, "red")),
    ),
    Number(
        "Networks",
        "Distinct client networks (/24, /48) within ten minutes, as the replica that saw the most counts them; 64 at most.",
        "short",
        'max(sidecar_key_source_networks{key_id="$key_id"})',
    ),
    Number(
        "Last used",
        "End of the latest request.",
        "dateTimeFromNow",
        'max(sidecar_key_last_used_timestamp_seconds{key_id="$key_id"}) * 1000 > 0',
    ),
    Number("Created", "When the key was made.", "dateTimeFromNow", 'min(sidecar_key_created_timestamp_seconds{key_id="$key_id"}) * 1000'),
    Number(
        "Expires",
        "Nothing: never.",
        "dateTimeFromNow",
        'max(sidecar_key_expires_timestamp_seconds{key_id="$key_id"}) * 1000',
    ),
)

TRAFFIC: tuple[Shown, ...] = (
    Graph(
        "Requests by outcome",
        "Each finished request under the one outcome that it had.",
        "reqps",
        [Query(f"sum by (outcome) (rate({_REQUESTS}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    ),
    Graph(
        "Refusals and errors by reason",
        "The code of the refusal, or the class of the hub's status.",
        "reqps",
        [
            Query(
                'sum by (reason) (rate(sidecar_key_requests_total{key_id="$key_id", reason!=""}[$__rate_interval]))',
                "{{reason}}",
            )
        ],
        stacked=True,
    ),
    Graph(
        "Requests beside the busiest hour of the week",
        "Five-minute rate, and the highest hourly mean of the seven days before. Three times as much is news.",
        "reqps",
        [
            Query('key:sidecar_requests:rate5m{key_id="$key_id"}', "now"),
            Query('last_over_time(key:sidecar_requests:rate1h_max7d{key_id="$key_id"}[25m])', "busiest hour"),
        ],
    ),
    Graph(
        "Tokens beside the busiest hour of the week",
        "Five-minute rate of input and output, and the highest hourly mean of the seven days before.",
        "short",
        [
            Query('key:sidecar_tokens:rate5m{key_id="$key_id"}', "tokens a second, now"),
            Query('last_over_time(key:sidecar_tokens:rate1h_max7d{key_id="$key_id"}[25m])', "busiest hour"),
        ],
    ),
    Graph(
        "Tokens by type",
        "As the hub reports them; cached ones may be part of the input.",
        "short",
        [Query('sum by (token_type) (rate(sidecar_key_tokens_total{key_id="$key_id"}[$__rate_interval]))', "{{token_type}} a second")],
    ),
    Graph(
        "Mean duration",
        "From first to last byte. Quantiles of one key are in the sidecar's own console.",
        "s",
        [
            Query(
                'sum(rate(sidecar_key_request_duration_seconds_sum{key_id="$key_id"}[$__rate_interval]))'
                ' / (sum(rate(sidecar_key_request_duration_seconds_count{key_id="$key_id"}[$__rate_interval])) > 0)',
                "mean",
            )
        ],
    ),
    Graph(
        "Requests under way",
        "A staircase upwards is an application that does not end its requests.",
        "short",
        [Query('sum(sidecar_key_in_flight{key_id="$key_id"})', "under way")],
    ),
    Graph(
        "Bytes",
        "Bodies of requests and answers.",
        "Bps",
        [Query('sum by (direction) (rate(sidecar_key_bytes_total{key_id="$key_id"}[$__rate_interval]))', "{{direction}}")],
    ),
)

SUSPICION: tuple[Shown, ...] = (
    Graph(
        "Networks over time",
        "Distinct client networks within ten minutes.",
        "short",
        [Query('max(sidecar_key_source_networks{key_id="$key_id"})', "networks")],
    ),
    Graph(
        "Signals",
        "What is unusual, while it is. The evidence in words is in the sidecar's own console.",
        "short",
        [Query('max by (signal) (sidecar_key_signal_active{key_id="$key_id"})', "{{signal}}")],
        stacked=True,
    ),
    Table(
        "Signals raised",
        "How often each was raised in the range shown.",
        "short",
        f"sum by (signal) {increase(_SIGNALS, '$__range')} > 0",
        [Column("signal", "Signal"), Column("Value", "Times")],
        width=8,
    ),
    Graph(
        "Requests by state of the secret",
        "While a rotation's grace lasts, retiring tells that somebody still uses the old secret.",
        "reqps",
        [Query('sum by (secret_state) (rate(sidecar_secret_requests_total{key_id="$key_id"}[$__rate_interval]))', "{{secret_state}}")],
        stacked=True,
        width=8,
    ),
    Graph(
        "Would be refused",
        "Requests that were let pass only because enforcement is shadow for this key.",
        "reqps",
        [Query('sum by (reason) (rate(sidecar_shadow_denied_total{key_id="$key_id"}[$__rate_interval]))', "{{reason}}")],
        stacked=True,
        width=8,
    ),
)

# Where metrics.key_info is off, keys go by their id.
_NAMES = (
    "query_result(max by (key_id, name) (sidecar_key_info) or on (key_id) "
    'label_replace(max by (key_id) (sidecar_key_created_timestamp_seconds), "name", "$1", "key_id", "(.+)"))'
)
_NAME = '/key_id="(?<value>[^"]+)",name="(?<text>.*)"\\}/'


def build() -> Dashboard:
    """The dashboard."""
    names = query_variable("key_id", "Key", _NAMES, _NAME)
    made = board(KEY_DASHBOARD, "Sidecar / Key", "One key: what it does, beside what it usually does.", [names])
    number = 1
    for title, shown in (("Facts", FACTS), ("Traffic", TRAFFIC), ("Is it in the right hands?", SUSPICION)):
        number = add_row(made, number, title, shown)
    return made
