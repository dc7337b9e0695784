"""Where the next page of a list of keys begins, as text for a URL. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def text_of(place: Any) -> str:
    """`place`, a tuple of strings and numbers, as base64url of its JSON, without padding."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def place_in(text: str, form: type[T]) -> T:
    """The place of this `form`; raises ValueError, with a sentence for people, when `text_of` made no such text."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=form)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise ValueError("this cursor was not made here; begin again without one") from None
