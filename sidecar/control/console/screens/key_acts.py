"""What an operator does to one key. Each act asks first where it cannot be undone."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping

from aiohttp import web

from sidecar.control.admin import endpoints
from sidecar.control.admin.errors import CONFLICT, IDEMPOTENCY_CONFLICT, AdminError
from sidecar.control.admin.messages.keys import KeyAnswer, KeyObject, KeyWithSecret, SecretList
from sidecar.control.console.forms import LABELS, KeyForm, faults_by_field, faults_of
from sidecar.control.console.guard import HOME
from sidecar.control.console.screens.new_key import reveal
from sidecar.control.console.snippets import FirstCalls
from sidecar.control.console.text import span
from sidecar.control.console.visit import Screen, Visit, see
from sidecar.control.usage.overview import Overview
from sidecar.settings.values import Duration

MINUTE, DAY = 60, 86400
_KEY = f"{HOME}/{{key_id}}"
_REVISION = re.compile(r"[0-9]{1,15}")
Faults = Mapping[str, str]
"""By field of a form, what is wrong with it."""
_NO_FAULTS: Faults = {}
GRACES = (("24h", "24 hours"), ("7d", "7 days"), ("1h", "1 hour"), ("0s", "no time: it ends at once"))


class KeyActs:
    """Every act is a call of the API."""

    def __init__(self, overview: Overview, first_calls: FirstCalls) -> None:
        self._first_calls = first_calls
        self._overview = overview

    def screens(self) -> list[Screen]:
        """All for operators."""
        return [
            Screen("GET", f"{_KEY}/edit", self.edit, "operator"),
            Screen("POST", f"{_KEY}/edit", self.change, "operator"),
            Screen("GET", f"{_KEY}/rotate", self.rotation, "operator"),
            Screen("POST", f"{_KEY}/rotate", self.rotate, "operator"),
            Screen("GET", f"{_KEY}/revoke", self.revocation, "operator"),
            Screen("POST", f"{_KEY}/revoke", self.revoke, "operator"),
            Screen("POST", f"{_KEY}/disable", self.disable, "operator"),
            Screen("POST", f"{_KEY}/enable", self.enable, "operator"),
            Screen("GET", f"{_KEY}/secrets/{{secret_id}}/end", self.ending, "operator"),
            Screen("POST", f"{_KEY}/secrets/{{secret_id}}/end", self.end_secret, "operator"),
        ]

    async def edit(self, visit: Visit) -> web.StreamResponse:
        """The form, filled in."""
        key = await read_key(visit)
        return _form(visit, key.id, KeyForm.of(key), str(key.revision))

    async def change(self, visit: Visit) -> web.StreamResponse:
        """Save the form, unless somebody else has changed the key since it was opened."""
        key, form, revision = await read_key(visit), KeyForm(visit.form), visit.form.get("revision", "")
        before = KeyForm.of(key)
        if _number(revision) == key.revision and (faults := form.contradictions(before, visit.now)):
            return _form(visit, key.id, form, revision, faults)
        try:
            await visit.ask(
                endpoints.CHANGE_KEY,
                path={"key_id": key.id},
                body=form.changes(before, visit.now),
                if_match=_number(revision),
            )
        except AdminError as error:
            if error.problem == CONFLICT:
                return _form(visit, key.id, form, revision, outdated=True)
            if error.problem.status != 400:
                raise
            return _form(visit, key.id, form, revision, faults_by_field(error.faults))
        return see(f"{HOME}/{key.id}", "changed")

    async def rotation(self, visit: Visit) -> web.StreamResponse:
        """Which overlap, and what an earlier rotation has left."""
        return await _rotation(visit, await read_key(visit))

    async def rotate(self, visit: Visit) -> web.StreamResponse:
        """A new secret, shown once, unless somebody else has rotated the key since the page was opened."""
        grace, revision = visit.form.get("grace_period", "24h"), visit.form.get("revision")
        expected = None if revision is None else _number(revision)
        try:
            answer = await visit.ask(
                endpoints.ROTATE_KEY,
                path=dict(visit.path),
                body={"grace_period": grace},
                if_match=expected,
                idempotency_key=visit.form.get("intent", "")[:64],
            )
        except AdminError as error:
            # A key with as many valid secrets as it can have is a conflict as well, and has not changed.
            if error.problem not in (CONFLICT, IDEMPOTENCY_CONFLICT) or expected in (None, (key := await read_key(visit)).revision):
                raise
            return await _rotation(visit, key, outdated=True)
        return reveal(visit, self._first_calls, answer.document, "The new secret", retiring=_overlap(grace, answer.document, visit.now))

    async def revocation(self, visit: Visit, faults: Faults = _NO_FAULTS) -> web.StreamResponse:
        """Name the key and what it did in the last 24 hours. With `faults` the reason that was typed stands in the form again."""
        key = await read_key(visit)
        return visit.page(
            "revoke.html",
            status=400 if faults else 200,
            key=key,
            requests=await self._lately(key.id, visit.now),
            faults=faults,
            reason=visit.form.get("reason", ""),
        )

    async def revoke(self, visit: Visit) -> web.StreamResponse:
        """For ever. Whoever revokes a key in use has to type its name."""
        key = await read_key(visit)
        if await self._lately(key.id, visit.now) and _as_seen(visit.form.get("typed_name", "")) != _as_seen(key.name):
            return await self.revocation(visit, {"typed_name": "Type the name exactly as it stands above."})
        try:
            await visit.ask(endpoints.REVOKE_KEY, path={"key_id": key.id}, body={"reason": visit.form.get("reason", "")})
        except AdminError as error:
            return await self.revocation(visit, faults_of(error, "reason"))
        return see(f"{HOME}/{key.id}", "revoked")

    async def disable(self, visit: Visit) -> web.StreamResponse:
        """Refuse the key for now."""
        await visit.ask(endpoints.DISABLE_KEY, path=dict(visit.path), body={})
        return see(f"{HOME}/{visit.path['key_id']}", "disabled")

    async def enable(self, visit: Visit) -> web.StreamResponse:
        """Accept it again."""
        await visit.ask(endpoints.ENABLE_KEY, path=dict(visit.path), body={})
        return see(f"{HOME}/{visit.path['key_id']}", "enabled")

    async def ending(self, visit: Visit, faults: Faults = _NO_FAULTS) -> web.StreamResponse:
        """Name the old secret and who still uses it. Where there is no overlap to end, the key's page says how things are."""
        key = await read_key(visit)
        found = await read_secrets(visit, key.id)
        secret = next((one for one in found.data if (one.id, one.state) == (visit.path["secret_id"], "retiring")), None)
        if secret is None or key.status == "revoked":
            return see(f"{HOME}/{key.id}")
        reason = visit.form.get("reason", "")
        return visit.page(
            "end_secret.html", status=400 if faults else 200, key=key, secret=secret, secrets=found, reason=reason, faults=faults
        )

    async def end_secret(self, visit: Visit) -> web.StreamResponse:
        """End the overlap of a rotation."""
        try:
            await visit.ask(endpoints.REVOKE_SECRET, path=dict(visit.path), body={"reason": visit.form.get("reason", "")})
        except AdminError as error:
            return await self.ending(visit, faults_of(error, "reason"))
        return see(f"{HOME}/{visit.path['key_id']}", "secret-ended")

    async def _lately(self, key_id: str, now: float) -> int:
        end = (now // MINUTE + 1) * MINUTE
        return (await self._overview.totals(key_id, end - DAY, end)).requests


def _number(revision: str) -> int:
    """The revision that a form was made from; 0, which no key has, when it is none."""
    return int(revision) if _REVISION.fullmatch(revision) else 0


async def _rotation(visit: Visit, key: KeyObject, *, outdated: bool = False) -> web.StreamResponse:
    return visit.page(
        "rotate.html",
        status=409 if outdated else 200,
        outdated=outdated,
        key=key,
        graces=GRACES,
        intent=secrets.token_urlsafe(16),
        secrets=await read_secrets(visit, key.id),
    )


def _overlap(grace: str, document: object, now: float) -> str:
    """How long both secrets work, in the words of the form; empty for no time, and of a key that lets neither in."""
    assert isinstance(document, KeyWithSecret)
    seconds, end = Duration.parse(grace), document.key.expires_at
    if not seconds or document.key.status != "active":
        return ""
    return "as long as the key" if end is not None and end.timestamp() < now + seconds else dict(GRACES).get(grace, span(seconds))


def _as_seen(name: str) -> str:
    """What a person can read off a page, and so type: a row of blanks looks like one, joiners and marks like nothing.

    A letter and its accent, as macOS writes names of files, look like the one character that a keyboard gives (NFC).
    """
    seen = "".join(character for character in name if character.isprintable() or character.isspace())
    return " ".join(unicodedata.normalize("NFC", seen).split())


async def read_key(visit: Visit) -> KeyObject:
    """The key of the path; AdminError 404."""
    answer = await visit.ask(endpoints.GET_KEY, path={"key_id": visit.path["key_id"]})
    assert isinstance(answer.document, KeyAnswer)
    return answer.document.key


async def read_secrets(visit: Visit, key_id: str) -> SecretList:
    """Its secrets with their use."""
    answer = await visit.ask(endpoints.LIST_SECRETS, path={"key_id": key_id})
    assert isinstance(answer.document, SecretList)
    return answer.document


def _form(
    visit: Visit, key_id: str, form: KeyForm, revision: str, faults: dict[str, str] | None = None, *, outdated: bool = False
) -> web.StreamResponse:
    return visit.page(
        "key_form.html",
        status=409 if outdated else 400 if faults else 200,
        outdated=outdated,
        repeated=False,
        heading="Edit key",
        creating=False,
        action=f"{HOME}/{key_id}/edit",
        back=f"{HOME}/{key_id}",
        back_name="Back to the key",
        token=revision,
        form=form,
        faults=faults or {},
        labels=LABELS,
    )
