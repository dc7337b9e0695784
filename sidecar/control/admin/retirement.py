"""Can the overlap of a rotation end? Who still uses an old secret, and whether it is safe to stop it. Pure."""

from __future__ import annotations

import math

from sidecar.control.admin.messages.keys import RetirementVerdict
from sidecar.control.admin.times import Unit, in_units
from sidecar.keys.record import Key, secret_is_live
from sidecar.keys.use import SecretUse, Use

QUIET = 24 * 3600.0
"""An old secret that was in use after the rotation is safe to end when it has been silent for a day."""

_UNUSED = SecretUse()
_UNITS: tuple[Unit, ...] = (("second", 1, 60), ("minute", 60, 60), ("hour", 3600, 24), ("day", 86400, math.inf))


def verdict(key: Key, use: Use, now: float) -> RetirementVerdict | None:
    """None when no old secret of `key` is valid at `now`, nor will be again."""
    if key.revoked_at is not None:
        return None
    old = [secret for secret in key.secrets if secret.state == "retiring" and secret_is_live(secret, now)]
    current = next((secret for secret in key.secrets if secret.state == "current"), None)
    if not old or current is None:
        return None
    if use.secrets.get(current.id, _UNUSED).requests == 0:
        return RetirementVerdict(safe=False, reason="The new secret has not been used yet.")
    latest = max((use.secrets.get(secret.id, _UNUSED) for secret in old), key=lambda one: one.last_used_at)
    if latest.last_used_at < current.created_at:
        return RetirementVerdict(safe=True, reason="The old secret has not been used since the rotation, and the new one is in use.")
    silent = now - latest.last_used_at
    where = f" from {latest.networks[0]}" if latest.networks else ""
    who = f" by {latest.agents[0]}" if latest.agents else ""
    if silent < QUIET:
        return RetirementVerdict(safe=False, reason=f"The old secret was used {span(silent)} ago{where}{who}.")
    return RetirementVerdict(safe=True, reason=f"The old secret was last used {span(silent)} ago{where}{who}; the new one is in use.")


def span(seconds: float) -> str:
    """A time span in its largest whole unit, in words."""
    count, unit = in_units(seconds, _UNITS)
    return f"{count} {unit}{'s' if count > 1 else ''}" if count else "a moment"
