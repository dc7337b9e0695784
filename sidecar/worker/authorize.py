"""Authorize: may this key do this? A pure judgement on the key, the route, the address and the model."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from sidecar.hubs.allowed_routes import allows
from sidecar.hubs.profile import Route
from sidecar.keys.record import Key
from sidecar.redaction import without_secrets
from sidecar.refusals import ABNORMAL_USAGE_DETECTED, IP_NOT_ALLOWED, MODEL_NOT_ALLOWED, ROUTE_NOT_ALLOWED, Refused

Parts = tuple[str, ...]

_STARS = re.compile(r"\*+")
_KINDS = {"json": "JSON member", "form": "form field", "query": "query parameter", "path": "path segment"}
LONGEST_NAME = 128
"""Characters of a model's name that a refusal repeats."""
LONGEST_MATCHED = 1024
"""Characters of the longest name that is matched against patterns: no model's is longer, and a body has room for millions."""


def check_use(key: Key, method: str, path: str, route: Route, client: str, now: float) -> None:
    """Raise Refused when `key` may not call `route` from `client` at `now` (Unix seconds)."""
    if key.throttled_until is not None and now < key.throttled_until:
        raise Refused(ABNORMAL_USAGE_DETECTED, retry_after=key.throttled_until - now)
    if key.allowed_ips is not None and not address_allowed(key.allowed_ips, client):
        raise Refused(IP_NOT_ALLOWED)
    if (key.allowed_routes is not None or route.opt_in) and not allows(key.allowed_routes, method, path, route):
        raise Refused(ROUTE_NOT_ALLOWED)


def check_models(key: Key, models: tuple[str, ...], lacks: str = "", prefix: str = "") -> None:
    """Raise Refused when one of the `models` that a request can choose is not on the key's list.

    The profile's model `prefix`, which the hub does not know, is cut off the list's entries; `models` are without it.

    Refused too is a request that names no model, or names none at `lacks` (such as `json:model`), the place where its hub looks first:
    the hub would fall back on a default that nobody checked.
    """
    allowed = key.allowed_models
    if allowed is None:
        return
    if not models:
        raise Refused(MODEL_NOT_ALLOWED, "This API key may use certain models only; name one in the request.", param="model")
    if lacks:
        kind, _, where = lacks.partition(":")
        detail = f"This API key may use certain models only; name one in the request's {_KINDS[kind]} {where}."
        raise Refused(MODEL_NOT_ALLOWED, detail, param="model")
    names, beginnings, patterns = _listed(allowed, prefix)
    refused = next(
        (
            model
            for model in dict.fromkeys(models)
            if model not in names and not _begins_so(beginnings, model) and not _is_like_one(patterns, model)
        ),
        None,
    )
    if refused is not None:
        raise Refused(MODEL_NOT_ALLOWED, f"This API key may not use the model {without_secrets(refused, LONGEST_NAME)}.", param="model")


def address_allowed(networks: tuple[str, ...], client: str) -> bool:
    """Whether the address `client` lies in one of `networks` (CIDR). An unknown address never does."""
    try:
        address: IPv4Address | IPv6Address = ip_address(client)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _networks(networks))


@lru_cache(maxsize=4096)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


@lru_cache(maxsize=1024)
def _listed(allowed: tuple[str, ...], prefix: str) -> tuple[frozenset[str], tuple[str, ...], tuple[Parts, ...]]:
    """A key's list, made ready once to be compared with up to a thousand names.

    Its entries; what stands before the `*` of each pattern whose only `*` is its last character; every other pattern, split at its `*`.
    """
    entries = [entry.removeprefix(prefix) or entry for entry in allowed]
    patterns = {tuple(_STARS.split(entry)) for entry in entries if "*" in entry}
    beginnings = {parts for parts in patterns if len(parts) == 2 and not parts[1]}
    return frozenset(entries), tuple(parts[0] for parts in beginnings), tuple(patterns - beginnings)


def _begins_so(beginnings: tuple[str, ...], model: str) -> bool:
    # LiteLLM asks every model of a list with commas, so a pattern must not allow them all for the sake of the first.
    return "" in beginnings if "," in model else model.startswith(beginnings)


def _is_like_one(patterns: tuple[Parts, ...], model: str) -> bool:
    return "," not in model and len(model) <= LONGEST_MATCHED and any(_is_like(parts, model) for parts in patterns)


def _is_like(parts: Parts, model: str) -> bool:
    # The first place where a part is found leaves the most room for the next ones, so no other has to be tried.
    first, *between, last = parts
    at, end = len(first), len(model) - len(last)
    if at > end or not model.startswith(first) or not model.endswith(last):
        return False
    for part in between:
        if (found := model.find(part, at, end)) < 0:
            return False
        at = found + len(part)
    return True
