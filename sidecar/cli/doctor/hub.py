"""What the hub accepts: is it there, is it the hub of this profile, does it take the sidecar's key.

Nothing here costs credits: no model is called.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from sidecar.cli.doctor.check import Check, fail, ok, warn
from sidecar.hubs.blocklet import AI_KIT_DID
from sidecar.hubs.load import load_profile
from sidecar.hubs.profile import Profile
from sidecar.hubs.protocol import protocol_of
from sidecar.hubs.session import address, headers, open_session
from sidecar.settings import Settings

PATIENCE = aiohttp.ClientTimeout(total=10, sock_connect=3)
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What the hub said; `document` is its JSON, None if it was none."""

    status: int
    document: Any = None


class Hub:
    """Asks the hub of `settings`."""

    def __init__(self, settings: Settings, profile: Profile, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._inject = profile.headers.inject
        self._hub = settings.hub

    async def get(self, path: str, *, with_key: bool = True) -> Answer:
        """GET `path` below the mount prefix; raises aiohttp.ClientError and TimeoutError."""
        fields = headers(self._hub, self._inject, with_key=with_key)
        async with self._session.get(address(self._hub, path), headers=fields, allow_redirects=False) as response:
            body = b""
            # One read gives what has arrived so far, which of a large answer is only its beginning.
            while len(body) < _LARGEST and (piece := await response.content.read(_LARGEST - len(body))):
                body += piece
            try:
                return Answer(response.status, json.loads(body))
            except (ValueError, RecursionError):
                return Answer(response.status)


async def checks(settings: Settings) -> AsyncIterator[Check]:
    """Every finding about the hub. Raises ProfileError."""
    profile = load_profile(settings.hub.profile)
    protocol = protocol_of(profile)
    async with open_session(settings.hub, PATIENCE) as session:
        hub = Hub(settings, profile, session)
        try:
            began = time.perf_counter()
            front = await hub.get("/__blocklet__.js?type=json" if protocol == "aigne" else "/", with_key=False)
            yield ok("hub", f"{settings.hub.url} answers after {(time.perf_counter() - began) * 1000:.0f} ms")
            if protocol == "aigne":
                yield judge_shape(front, settings.hub.url.mount)
                yield judge_status(await hub.get("/api/v2/status"))
                yield judge_key(await hub.get("/api/user/info"), has_key=bool(settings.hub.access_key))
                yield judge_v1(await hub.get("/api/v1/status"))
            elif protocol == "openai":
                yield judge_models(await hub.get("/v1/models"))
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            yield fail("hub", f"{settings.hub.url} does not answer ({reason})", "start the hub, or correct hub.url")


def judge_shape(answer: Answer, mount: str) -> Check:
    """Whether hub.url leads to the gateway or to the hub's own port, and whether its path fits that."""
    if answer.status != 200 or not isinstance(answer.document, dict):
        if mount:
            return warn("hub shape", f"the hub's own port, yet hub.url has the path {mount}", "remove the path from hub.url")
        return ok("hub shape", "the hub's own port: only this machine should reach it, for it believes identity headers")
    points = _listed(answer.document, "componentMountPoints")
    found = next((point.get("mountPoint", "") for point in points if isinstance(point, dict) and point.get("did") == AI_KIT_DID), None)
    if found is None:
        return warn("hub shape", "a gateway that knows no AIGNE Hub", "point hub.url at the site on which the hub is installed")
    if str(found).rstrip("/") != mount:
        return fail("hub shape", f"a gateway that has the hub at {found}, not at {mount or '/'}", f"let hub.url end in {found}")
    return ok("hub shape", f"a gateway with the hub at {found}")


def judge_status(answer: Answer) -> Check:
    """`/api/v2/status` answers everybody, and says whether models can be called."""
    if answer.status != 200 or not isinstance(answer.document, dict) or "available" not in answer.document:
        return fail(
            "hub status",
            f"GET /api/v2/status answers {answer.status}",
            "hub.url does not lead to an AIGNE Hub; correct it or choose another profile",
        )
    if answer.document["available"] is not True:
        reason = answer.document.get("error") or answer.document.get("type") or "no reason given"
        return warn("hub status", f"the hub cannot serve at the moment ({reason})", "see the hub's credit and its providers")
    return ok("hub status", "available")


def judge_key(answer: Answer, *, has_key: bool) -> Check:
    """`/api/user/info` needs a credential, so its answer tells whether ours is one."""
    if not has_key:
        return fail("hub key", "no access key is configured", "set hub.access_key or hub.access_key_file")
    if answer.status in (401, 403):
        return fail(
            "hub key",
            f"the hub refuses the access key ({answer.status})",
            "make a new one in the site's administration (Integrations, Access Keys) and set hub.access_key",
        )
    if answer.status != 200:
        return warn("hub key", f"GET /api/user/info answers {answer.status}", "the key could not be tried; look at the hub's log")
    role = _role(answer.document)
    if role in ("owner", "admin"):
        return warn(
            "hub key",
            f"is accepted, with the role {role}",
            "use the key of a member: an admin's key makes every client of the sidecar an admin of what the profile forwards",
        )
    return ok("hub key", "is accepted" + (f", with the role {role}" if role else ""))


def judge_v1(answer: Answer) -> Check:
    """Old hubs take bearer keys on /api/v1, newer ones do not: that is why the profile rewrites to /api/v2."""
    if answer.status == 200:
        return ok("hub v1", "takes the access key on /api/v1 as well")
    return ok("hub v1", "does not take the access key on /api/v1; the profile rewrites those calls to /api/v2")


def judge_models(answer: Answer) -> Check:
    """OpenAI-compatible hubs list their models to whoever has a key."""
    if answer.status in (401, 403):
        return fail("hub key", f"the hub refuses the access key ({answer.status})", "set hub.access_key to a key of the hub")
    if answer.status != 200 or not isinstance(answer.document, dict):
        return warn(
            "hub models", f"GET /v1/models answers {answer.status}", "check that hub.url leads to an OpenAI-compatible hub, without /v1"
        )
    return ok("hub models", f"{len(_listed(answer.document, 'data'))} models")


def _listed(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    return found if isinstance(found, list) else []


def _role(document: Any) -> str:
    user = document.get("user", document) if isinstance(document, dict) else {}
    role = user.get("role") if isinstance(user, dict) else None
    return role if isinstance(role, str) else ""
