"""The life of keys: create, list, read, change, rotate, revoke, disable, enable, identify."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from sidecar.control.admin import endpoints
from sidecar.control.admin.decoding import faulty
from sidecar.control.admin.endpoint import Answer, Call, Nothing, Route
from sidecar.control.admin.errors import CONFLICT, NOT_FOUND, AdminError
from sidecar.control.admin.key_errors import key_errors, known_key
from sidecar.control.admin.key_fields import changed_members, new_members
from sidecar.control.admin.messages import keys as messages
from sidecar.control.admin.presenting import changes, created, key_object, secret_object
from sidecar.control.admin.recorder import Recorder
from sidecar.control.admin.repeats import Repeated, Repeats, repeats
from sidecar.control.audit import Party
from sidecar.keys.admin_tokens import PREFIX
from sidecar.keys.digest import may_be_key
from sidecar.keys.issue import MOST_SECRETS
from sidecar.keys.listing import Query
from sidecar.keys.record import Key, secret_is_live, status
from sidecar.keys.repository import KeyRepository
from sidecar.keys.token import hint, is_well_formed, pasted
from sidecar.settings.declaration import Keys as KeySettings
from sidecar.settings.values import Duration

Change = Callable[[Key], Key]

_NOT_OURS = (
    f"No key here has or had this token as a secret. Each key remembers its {MOST_SECRETS} latest secrets only, "
    "so an older one may have been yours all the same."
)
_OPENS_THIS_API = (
    "This has the form of an admin token, which opens no key but may open this API. "
    "`sidecar admin-tokens list` shows whether one ends so ({}); if it does, revoke it."
)


class Keys:
    """Serves `keys.*` but import."""

    def __init__(self, keys: KeyRepository, repeats: Repeats, recorder: Recorder, settings: KeySettings) -> None:
        self._keys = keys
        self._settings = settings
        self._repeats = repeats
        self._recorder = recorder

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [
            endpoints.CREATE_KEY.bind(self.create),
            endpoints.LIST_KEYS.bind(self.list),
            endpoints.GET_KEY.bind(self.get),
            endpoints.CHANGE_KEY.bind(self.change),
            endpoints.ROTATE_KEY.bind(self.rotate),
            endpoints.REVOKE_KEY.bind(self.revoke),
            endpoints.DISABLE_KEY.bind(self.disable),
            endpoints.ENABLE_KEY.bind(self.enable),
            endpoints.IDENTIFY.bind(self.identify),
        ]

    async def create(self, call: Call[Nothing, messages.NewKey]) -> Answer:
        """A new key; its secret is in the answer and nowhere else."""
        shape = Key(id="", created_at=0.0, **new_members(call.body))
        key_id = await self._repeats.subject(call, "key")
        try:
            async with self._recorder.act(call, "api_key.created", None) as act:
                with repeats():
                    issued = await self._keys.create(shape, key_id)
                act.on(target(issued.key), created(issued.key))
        except Repeated:
            return await self._repeated(key_id or "")
        return Answer(201, messages.KeyWithSecret(key=await self._object(issued.key), secret=issued.token), (_location(issued.key),))

    async def list(self, call: Call[messages.KeysQuery, Nothing]) -> Answer:
        """One page."""
        query = call.query
        try:
            page = await self._keys.list(Query(query.q, query.status, query.owner or None, query.limit, query.cursor or None, query.sort))
        except ValueError:
            raise faulty([("cursor", "is not a cursor that this list has given out")]) from None
        uses = await self._keys.uses([key.id for key in page.keys])
        now = self._recorder.now()
        data = [key_object(key, uses.get(key.id), now) for key in page.keys]
        return Answer(200, messages.KeyList(data=data, next_cursor=page.next_cursor))

    async def get(self, call: Call[Nothing, Nothing]) -> Answer:
        """One key."""
        key = await known_key(self._keys, call.path["key_id"])
        return Answer(200, messages.KeyAnswer(key=await self._object(key)), (_etag(key),))

    async def change(self, call: Call[Nothing, messages.KeyChange]) -> Answer:
        """Change what is given."""
        body = call.body
        given = None if body.revision is UNSET else body.revision
        expected = given if call.if_match is None else call.if_match
        if given not in (None, expected):
            raise AdminError(CONFLICT, "If-Match and revision differ; send one of them, or the same value in both.", param="revision")
        changed_members(body, Key(id="", name="", created_at=0.0).limits)
        return await self._changed(call, "api_key.updated", lambda key: replace(key, **changed_members(body, key.limits)), expected)

    async def disable(self, call: Call[Nothing, messages.Because]) -> Answer:
        """Refuse the key until it is enabled."""
        return await self._changed(call, "api_key.disabled", lambda key: replace(key, disabled=True), call.if_match, call.body.reason)

    async def enable(self, call: Call[Nothing, messages.Because]) -> Answer:
        """Accept the key again, also where an anomaly throttled it."""
        return await self._changed(
            call, "api_key.enabled", lambda key: replace(key, disabled=False, throttled_until=None), call.if_match, call.body.reason
        )

    async def rotate(self, call: Call[Nothing, messages.Rotation]) -> Answer:
        """A new secret; the old one is valid for the grace period."""
        grace = Duration.parse(call.body.grace_period)
        before = await known_key(self._keys, call.path["key_id"])
        try:
            secret_id = await self._repeats.subject(call, "sec")
            async with self._recorder.act(call, "api_key.rotated", target(before)) as act:
                with key_errors(), repeats():
                    issued = await self._keys.rotate(before.id, grace, call.if_match, secret_id=secret_id)
                act.on(target(issued.key), changes(issued.before or before, issued.key, self._recorder.now(), "secrets"))
        except Repeated:
            return await self._repeated(before.id)
        await self._repeats.made(call, secret_id)
        return Answer(200, messages.KeyWithSecret(key=await self._object(issued.key), secret=issued.token), (_etag(issued.key),))

    async def revoke(self, call: Call[Nothing, messages.Because]) -> Answer:
        """Revoke for ever."""
        before = await known_key(self._keys, call.path["key_id"])
        async with self._recorder.act(call, "api_key.revoked", target(before), reason=call.body.reason) as act:
            with key_errors():
                revoked = await self._keys.revoke(before.id, call.if_match)
            act.on(target(revoked.key), changes(before, revoked.key, self._recorder.now(), "revoked_at"))
        return Answer(200, messages.KeyRevoked(key=await self._object(revoked.key), durable=revoked.durable), (_etag(revoked.key),))

    async def identify(self, call: Call[Nothing, messages.Leaked]) -> Answer:
        """Whose token is this."""
        token = pasted(call.body.token).encode()
        if not token:
            raise faulty([("token", "is blank")])
        async with self._recorder.act(call, "api_key.identified", None) as act:
            found = await self._keys.identify(token)
            if found is None:
                is_admin = is_well_formed(token, PREFIX)
                raise AdminError(NOT_FOUND, _OPENS_THIS_API.format(hint(token.decode())) if is_admin else _NOT_OURS, param="token")
            act.on(target(found.key))
        now = self._recorder.now()
        accepted = may_be_key(token, self._settings.prefix, accept_imported=self._settings.accept_imported)
        valid = accepted and status(found.key, now) == "active" and secret_is_live(found.secret, now)
        use = (await self._keys.uses([found.key.id])).get(found.key.id)
        identified = messages.Identified(key=key_object(found.key, use, now), secret=secret_object(found.secret, use, now), valid=valid)
        return Answer(200, identified)

    async def _changed(self, call: Call[Any, Any], action: str, change: Change, expected: int | None, reason: str = "") -> Answer:
        seen: list[Key] = []

        def noticed(key: Key) -> Key:
            # Called again when another writer was faster; the last one is the state that was changed.
            seen.append(key)
            return change(key)

        key_id = call.path["key_id"]
        async with self._recorder.act(call, action, Party("api_key", key_id), reason=reason) as act:
            with key_errors():
                key = await self._keys.update(key_id, noticed, expected)
            act.on(target(key), changes(seen[-1], key, self._recorder.now()))
        return Answer(200, messages.KeyAnswer(key=await self._object(key)), (_etag(key),))

    async def _repeated(self, key_id: str) -> Answer:
        return Answer(200, messages.KeyWithSecret(key=await self._object(await known_key(self._keys, key_id)), secret=None))

    async def _object(self, key: Key) -> messages.KeyObject:
        return key_object(key, (await self._keys.uses([key.id])).get(key.id), self._recorder.now())


def target(key: Key) -> Party:
    """A key as the audit log names it."""
    return Party("api_key", key.id, key.name)


def _etag(key: Key) -> tuple[str, str]:
    return "ETag", f'"{key.revision}"'


def _location(key: Key) -> tuple[str, str]:
    return "Location", f"/admin/v1/keys/{key.id}"
