"""Kinds of members that several messages share; bounds are part of the type, so the OpenAPI document shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

# No control characters, line separators or bidirectional overrides: a name must look like what it is.
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=PRINTABLE, description="1 to 128 printable characters.")]
Owner = Annotated[str, Meta(max_length=128, pattern=PRINTABLE, description="Who uses the key; up to 128 printable characters.")]
Reason = Annotated[str, Meta(max_length=500, pattern=PRINTABLE, description="Why, for the audit log; up to 500 printable characters.")]
_FRACTION = r"(\.[0-9]{1,3})?"
Duration = Annotated[
    str,
    Meta(
        # At most 999 days in any unit, so that there is nothing left to refuse.
        pattern=f"^([0-9]{{1,9}}ms|[0-9]{{1,7}}{_FRACTION}s|[0-9]{{1,5}}{_FRACTION}m|[0-9]{{1,4}}{_FRACTION}h|[0-9]{{1,3}}{_FRACTION}d)$(?!\\n)",
        description="A number and a unit, 999d at most: 250ms, 30s, 5m, 24h, 7d.",
        examples=["24h"],
    ),
]
Positive = Annotated[int, Meta(ge=1, le=9_007_199_254_740_991)]
Cursor = Annotated[str, Meta(max_length=512, pattern=r"^[A-Za-z0-9_.:~=-]*$(?!\n)", description="The next_cursor of the page before.")]
Limit = Annotated[int, Meta(ge=1, le=1000, description="Items in a page, at most.")]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message from a client: unknown members are refused."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A message to a client."""
