"""The secrets of a key: who still uses the old one, and the end of the overlap."""

from __future__ import annotations

from msgspec.structs import replace

from sidecar.control.admin import endpoints
from sidecar.control.admin.endpoint import Answer, Call, Nothing, Route
from sidecar.control.admin.errors import CONFLICT, NOT_FOUND, AdminError
from sidecar.control.admin.key_errors import key_errors, known_key
from sidecar.control.admin.messages import keys as messages
from sidecar.control.admin.presenting import changes, key_object, secret_use
from sidecar.control.admin.recorder import Recorder
from sidecar.control.admin.resources.keys import target
from sidecar.control.admin.retirement import verdict
from sidecar.keys.repository import KeyRepository
from sidecar.keys.use import Use


class Secrets:
    """Serves `secrets.*`."""

    def __init__(self, keys: KeyRepository, recorder: Recorder) -> None:
        self._keys = keys
        self._recorder = recorder

    def routes(self) -> list[Route]:
        """The endpoints with their handlers."""
        return [endpoints.LIST_SECRETS.bind(self.list), endpoints.REVOKE_SECRET.bind(self.revoke)]

    async def list(self, call: Call[Nothing, Nothing]) -> Answer:
        """Every secret with its use, and whether the old ones can go."""
        key = await known_key(self._keys, call.path["key_id"])
        use = await self._use(key.id)
        now = self._recorder.now()
        data = [secret_use(secret, use, now) for secret in key.secrets]
        return Answer(200, messages.SecretList(data=data, safe_to_retire=verdict(key, use, now)))

    async def revoke(self, call: Call[Nothing, messages.Because]) -> Answer:
        """End a retiring secret now."""
        secret_id = call.path["secret_id"]
        before = await known_key(self._keys, call.path["key_id"])
        secret = next((one for one in before.secrets if one.id == secret_id), None)
        if secret is None:
            raise _unknown()
        if secret.state == "current":
            raise AdminError(CONFLICT, "This is the key's current secret: rotate the key, or revoke it.", param="secret_id")
        async with self._recorder.act(call, "api_key.secret_revoked", target(before), reason=call.body.reason) as act:
            with key_errors():
                try:
                    key = await self._keys.end_secret(before.id, secret_id)
                except KeyError:
                    raise _unknown() from None
            # The other secrets may be others by now, and this act has changed none of them.
            old = replace(key, secrets=tuple(secret if one.id == secret_id else one for one in key.secrets))
            act.on(target(key), changes(old, key, self._recorder.now(), "secrets"))
        return Answer(200, messages.KeyAnswer(key=key_object(key, await self._use(key.id), self._recorder.now())))

    async def _use(self, key_id: str) -> Use:
        return (await self._keys.uses([key_id])).get(key_id, Use())


def _unknown() -> AdminError:
    return AdminError(NOT_FOUND, "The key has no secret with this id.", param="secret_id")
