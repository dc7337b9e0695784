"""Reads what a client says it would rather have: the weights of Accept and Accept-Encoding (RFC 9110 12.5)."""

from __future__ import annotations

from collections.abc import Iterable


def weights_of(header: str) -> dict[str, float]:
    """How much each choice of an Accept… header is wanted, from 0 (not at all) to 1, by its name in small letters.

    A name that comes with several parameters, such as versions, has its largest weight; a weight that is no number is 1.
    """
    weights: dict[str, float] = {}
    for choice in header.lower().split(","):
        name, *parameters = (part.strip() for part in choice.split(";"))
        weights[name] = max(_weight(parameters), weights.get(name, 0.0))
    return weights


def _weight(parameters: Iterable[str]) -> float:
    said = next((value.strip() for name, _, value in (each.partition("=") for each in parameters) if name.strip() == "q"), "1")
    try:
        return max(0.0, min(1.0, float(said)))
    except ValueError:
        return 1.0
