"""The dashboard for whoever looks for stolen keys and for those who try doors."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.board import Column, Graph, Number, Query, Shown, Table, add_row, board, increase, key_names

_NAMED = [Column("name", "Name"), Column("owner", "Owner"), Column("key_id", "Key")]
_RETIRING = 'sidecar_secret_requests_total{secret_state="retiring"}'
_DEAD = 'outcome="denied", reason=~"api_key_revoked|api_key_rotated|api_key_disabled|api_key_expired"'

NOW: tuple[Shown, ...] = (
    Number(
        "Probably stolen",
        "Keys for which ApiKeyCompromiseLikely fires.",
        "short",
        'count(ALERTS{alertname="ApiKeyCompromiseLikely", alertstate="firing"}) or vector(0)',
        steps=((1, "red"),),
        width=4,
    ),
    Number(
        "Keys with signals",
        "Keys of which something unusual is seen at this moment.",
        "short",
        "count(count by (key_id) (sidecar_key_signal_active == 1)) or vector(0)",
        steps=((1, "yellow"),),
        width=4,
    ),
    Number(
        "Networks with many keys",
        "Client networks that presented at least five distinct keys within ten minutes, as the replica that saw the most counts them.",
        "short",
        "max(sidecar_sources_many_keys)",
        steps=((1, "yellow"),),
        width=4,
    ),
    Number(
        "Unknown keys",
        "Requests with a key that nobody has, each second.",
        "reqps",
        'sum(rate(sidecar_auth_failures_total{reason="invalid_api_key"}[$__rate_interval])) or vector(0)',
        steps=((0.1, "yellow"), (1, "red")),
        now=False,
        width=4,
    ),
    Number(
        "Dead secrets",
        "Requests with a revoked, rotated, disabled or expired secret in the range shown.",
        "short",
        f"sum(increase(sidecar_key_requests_total{{{_DEAD}}}[$__range])) or vector(0)",
        steps=((1, "yellow"),),
        width=4,
    ),
    Number(
        "Acts of administration",
        "Entries written to the audit log in the range shown.",
        "short",
        "sum(increase(sidecar_audit_events_total[$__range])) or vector(0)",
        width=4,
    ),
)

SIGNALS: tuple[Shown, ...] = (
    Table(
        "Keys at risk",
        "Weight of the signals that are up together. The evidence in words is in the sidecar's own console, under Alerts.",
        "short",
        key_names("key:sidecar_risk:sum"),
        [*_NAMED, Column("Value", "Risk")],
    ),
    Table(
        "Signals",
        "What is unusual about which key at this moment, with its weight.",
        "short",
        key_names(
            "max by (key_id, signal) (sidecar_key_signal_active) * on (signal) group_left () max by (signal) (sidecar_signal_weight)",
            "signal",
        ),
        [*_NAMED, Column("signal", "Signal"), Column("Value", "Weight")],
    ),
    Graph(
        "Signals raised",
        "How many of each kind, over all keys.",
        "short",
        [Query(f"sum by (signal) {increase('sidecar_key_signals_total', '$__rate_interval')}", "{{signal}}")],
        stacked=True,
        width=8,
    ),
    Table(
        "Keys by networks",
        "The 20 keys that came from the most networks within ten minutes.",
        "short",
        f"topk(20, {key_names('max by (key_id) (sidecar_key_source_networks) > 0')})",
        [*_NAMED, Column("Value", "Networks")],
        width=8,
    ),
    Graph(
        "Notifications",
        "Attempts to deliver what notifications.webhooks are told. What failed is tried again; the log says why.",
        "short",
        [Query("sum by (outcome) (increase(sidecar_webhook_attempts_total[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
        width=8,
    ),
)

DOORS: tuple[Shown, ...] = (
    Graph(
        "Refused without a known key",
        "invalid_api_key is somebody who guesses, or an application with a wrong key; too_many_failures is the answer to that.",
        "reqps",
        [Query("sum by (reason) (rate(sidecar_auth_failures_total[$__rate_interval]))", "{{reason}}")],
        stacked=True,
    ),
    Graph(
        "Refused with a known key",
        "By the code of the refusal.",
        "reqps",
        [
            Query(
                'sum by (reason) (rate(sidecar_key_requests_total{outcome=~"denied|rate_limited"}[$__rate_interval]))',
                "{{reason}}",
            )
        ],
        stacked=True,
    ),
    Table(
        "Keys by refusals",
        "The 20 keys that were refused most often in the range shown, by the code of the refusal.",
        "short",
        "topk(20, "
        + key_names(
            'sum by (key_id, reason) (increase(sidecar_key_requests_total{outcome=~"denied|rate_limited"}[$__range])) > 0',
            "reason",
        )
        + ")",
        [*_NAMED, Column("reason", "Reason"), Column("Value", "Requests")],
    ),
    Graph(
        "Would be refused",
        "Requests that were let pass only because enforcement is shadow. Empty enough? Then enforce.",
        "reqps",
        [Query("sum by (reason) (rate(sidecar_shadow_denied_total[$__rate_interval]))", "{{reason}}")],
        stacked=True,
    ),
)

CARE: tuple[Shown, ...] = (
    Table(
        "Old secrets still in use",
        "Keys whose retiring secret was used in the range shown: somebody has not heard of the rotation.",
        "short",
        key_names(f"sum by (key_id) {increase(_RETIRING, '$__range')} > 0"),
        [*_NAMED, Column("Value", "Requests")],
        width=8,
    ),
    Table(
        "Keys that expire soon",
        "Within thirty days.",
        "s",
        key_names("0 < max by (key_id) (sidecar_key_expires_timestamp_seconds) - time() < 30 * 86400"),
        [*_NAMED, Column("Value", "Left")],
        width=8,
    ),
    Graph(
        "Acts by kind",
        "Entries of the audit log by act and result.",
        "short",
        [Query("sum by (action, result) (increase(sidecar_audit_events_total[$__rate_interval]))", "{{action}} {{result}}")],
        stacked=True,
        width=8,
    ),
)


def build() -> Dashboard:
    """The dashboard."""
    made = board("sidecar-security", "Sidecar / Security", "Keys that behave as if stolen, and who tries the door.", [])
    number = 1
    for title, shown in (("Now", NOW), ("Signs of theft", SIGNALS), ("At the door", DOORS), ("Care of keys", CARE)):
        number = add_row(made, number, title, shown)
    return made
