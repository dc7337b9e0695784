"""How many tokens a request is taken for before its use is known, and afterwards. Pure."""

from __future__ import annotations

from sidecar.events.record import Tokens

BYTES_PER_TOKEN = 4
"""Of a JSON body, about right for English text and on the safe side for base64."""
DEFAULT_OUTPUT = 256
"""Tokens of output when the request names no maximum."""
MAX_ESTIMATE = 1_000_000
"""No request reserves more; a body full of pictures would otherwise block its key for nothing."""


def estimate(body_bytes: int, max_tokens: int | None) -> int:
    """The tokens to reserve for a request with this body; `max_tokens` is what the body asks for at most, if it says.

    Always at least 1, so that requests under way cannot be without number.
    """
    output = DEFAULT_OUTPUT if max_tokens is None else max(0, max_tokens)
    return max(1, min(MAX_ESTIMATE, -(-body_bytes // BYTES_PER_TOKEN) + output))


def counted(tokens: Tokens) -> int:
    """The tokens that count against `tpm` and a token quota."""
    return spent(tokens.input, tokens.output, tokens.cached_input, tokens.cache_creation_input)


def spent(read: int, written: int, cached: int, created: int) -> int:
    """Input and output, of which cached input is a part; where a hub counts that beside its input, the larger of the two is the input.

    Else whoever marks a prompt to be cached would have next to all of it for nothing.
    """
    return max(read, cached + created) + written
