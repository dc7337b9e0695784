"""The options that set a key's fields, and the request members that they become. Pure.

An option that is not given leaves its field alone. `any` and `none` stand for the two lists that no
entries can express: null (all allowed) and [] (nothing allowed); `none` takes a number or a time off.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sidecar.cli.admin.text import read_moment
from sidecar.cli.errors import WRONG_USE, CommandError

ANY, NONE = "any", "none"
LISTS = {"allow_route": "allowed_routes", "allow_model": "allowed_models", "allow_ip": "allowed_ips"}
LIMITS = ("rpm", "tpm", "max_concurrency")
QUOTA = {"quota_requests": "requests", "quota_tokens": "tokens", "quota_period": "period", "quota_timezone": "timezone"}
MODES = ("off", "shadow", "enforce")
RESPONSES = ("observe", "notify", "throttle", "disable")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `keys create` and `keys update` share."""
    parser.add_argument("--owner", help="who answers for the key")
    parser.add_argument("--expires", metavar="WHEN", help="when it ends: a duration (90d), a date and time, or none")
    may = parser.add_argument_group("what the key may do", "Each may be repeated; `any` lifts the list, `none` allows nothing.")
    may.add_argument(
        "--allow-route", action="append", metavar="ROUTE", help="name or group of a route (chat), or METHOD /path with * and **"
    )
    may.add_argument("--allow-model", action="append", metavar="MODEL", help="name of a model")
    may.add_argument("--allow-ip", action="append", metavar="NETWORK", help="address or network (203.0.113.0/24)")
    limits = parser.add_argument_group("limits", "A number, or none.")
    limits.add_argument("--rpm", metavar="N", type=_number, help="requests a minute")
    limits.add_argument("--tpm", metavar="N", type=_number, help="tokens a minute")
    limits.add_argument("--max-concurrency", metavar="N", type=_number, help="requests at a time")
    limits.add_argument("--quota-requests", metavar="N", type=_number, help="requests in a period")
    limits.add_argument("--quota-tokens", metavar="N", type=_number, help="tokens in a period")
    limits.add_argument("--quota-period", choices=("day", "week", "month"), help="the period (month)")
    limits.add_argument("--quota-timezone", metavar="ZONE", help="IANA zone in which periods begin (UTC)")
    policy = parser.add_argument_group("policy and notes")
    policy.add_argument("--enforcement", choices=(*MODES, "default"), help="override the configuration for what this key may do")
    policy.add_argument("--on-anomaly", choices=(*RESPONSES, "default"), help="what an anomaly does to this key")
    policy.add_argument("--metadata", action="append", metavar="NAME=VALUE", help="a note; an empty value removes it; may be repeated")
    policy.add_argument("--tag", action="append", metavar="TAG", help="a tag; may be repeated; none removes all")


def members(args: argparse.Namespace, now: datetime, before: Mapping[str, Any]) -> dict[str, Any]:
    """The request members for the options given; `before` is the key as it is ({} for a new one)."""
    found: dict[str, Any] = {name: getattr(args, name) for name in ("name", "owner") if getattr(args, name, None) is not None}
    if args.expires is not None:
        found["expires_at"] = _expiry(args.expires, now)
    for option, member in LISTS.items():
        if getattr(args, option) is not None:
            found[member] = _list(option, getattr(args, option))
    found.update(_limits(args) | _quota(args, before))
    for member in ("enforcement", "on_anomaly"):
        if getattr(args, member) is not None:
            found[member] = None if getattr(args, member) == "default" else getattr(args, member)
    if args.metadata is not None:
        found["metadata"] = _metadata(args.metadata, before.get("metadata") or {})
    if args.tag is not None:
        found["tags"] = [] if args.tag == [NONE] else args.tag
    return found


def _number(text: str) -> int | str:
    if text == NONE:
        return NONE
    if not text.isdecimal() or not text.isascii() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number of at least 1 nor none")
    return int(text)


def _expiry(text: str, now: datetime) -> str | None:
    if text in (NONE, "never"):
        return None
    try:
        return read_moment(text, now, past=False)
    except ValueError as error:
        raise CommandError(f"--expires: {error}.", WRONG_USE) from None


def _list(option: str, values: list[str]) -> list[str] | None:
    if values == [ANY]:
        return None
    if values == [NONE]:
        return []
    if ANY in values or NONE in values:
        raise CommandError(f"--{option.replace('_', '-')}: any and none stand alone; leave the other entries out.", WRONG_USE)
    return values


def _limits(args: argparse.Namespace) -> dict[str, Any]:
    """The limits that the options name; null takes one off, absent ones stay."""
    given = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    return {"limits": {name: None if value == NONE else value for name, value in given.items()}} if given else {}


def _quota(args: argparse.Namespace, before: Mapping[str, Any]) -> dict[str, Any]:
    """The quota whole, as the API takes it: what the options do not name keeps its value; null when no amount is left."""
    given = {member: getattr(args, option) for option, member in QUOTA.items() if getattr(args, option) is not None}
    if not given:
        return {}
    merged = {**(before.get("quota") or {}), **{member: None if value == NONE else value for member, value in given.items()}}
    if merged.get("requests") is None and merged.get("tokens") is None:
        if "requests" not in given and "tokens" not in given:
            raise CommandError("a quota needs an amount: add --quota-requests or --quota-tokens.", WRONG_USE)
        return {"quota": None}
    return {"quota": merged}


def _metadata(pairs: list[str], before: Mapping[str, str]) -> dict[str, str]:
    result = dict(before)
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise CommandError(f"--metadata: {pair!r} is not NAME=VALUE.", WRONG_USE)
        if value:
            result[name] = value
        else:
            result.pop(name, None)
    return result
