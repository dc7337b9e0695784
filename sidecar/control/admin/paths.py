"""The parameters of paths, and the form that each must have.

What does not have the form does not exist: no byte of a caller's choice becomes part of a name in
the store.
"""

from __future__ import annotations

import re

PARAMETERS = {
    "key_id": re.compile(r"key_[0-9A-Za-z]{16}"),
    "secret_id": re.compile(r"sec_[0-9A-Za-z]{16}"),
    "token_id": re.compile(r"[a-z]{2,8}_[0-9A-Za-z]{8,32}"),
    "anomaly_id": re.compile(r"[A-Za-z0-9_.:-]{1,128}"),
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def parameters(path: str) -> list[str]:
    """The names in a path template."""
    return _PLACEHOLDER.findall(path)


def pattern(path: str) -> str:
    """The path template as the router wants it, each parameter with its form."""
    return _PLACEHOLDER.sub(lambda match: f"{{{match[1]}:{PARAMETERS[match[1]].pattern}}}", path)
