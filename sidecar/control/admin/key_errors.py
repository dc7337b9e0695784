"""What the key repository refuses, or does not have, as answers of the admin API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.control.admin.errors import CONFLICT, KEY_REVOKED, NOT_FOUND, AdminError
from sidecar.keys.issue import MOST_SECRETS, TooManySecrets
from sidecar.keys.reader import KeyReader
from sidecar.keys.record import Key
from sidecar.keys.repository import AlreadyImported, KeyIsNewer, KeyIsRevoked, RevisionConflict, UnknownKey

_TOO_MANY = (
    f"All {MOST_SECRETS} secrets that a key can have are still valid. End one that is no longer used, {{}} ends first, "
    "or rotate with a grace_period of 0s, which ends every one but the new."
)


@contextmanager
def key_errors() -> Iterator[None]:
    """Translate what the repository raises inside the block."""
    try:
        yield
    except UnknownKey:
        raise _unknown() from None
    except KeyIsRevoked:
        raise AdminError(KEY_REVOKED) from None
    except RevisionConflict as error:
        detail = f"The key has changed since it was read: it has revision {error.revision} now. Read it again and repeat the change."
        raise AdminError(CONFLICT, detail, param="revision") from None
    except KeyIsNewer:
        raise AdminError(CONFLICT, "A newer version of the sidecar wrote this key; change it with that version.") from None
    except TooManySecrets as error:
        raise AdminError(CONFLICT, _TOO_MANY.format(error.secret_id), param="grace_period") from None
    except AlreadyImported as error:
        raise AdminError(CONFLICT, f"This token belongs to {error.key_id} already.", param="sha256") from None


async def known_key(keys: KeyReader, key_id: str) -> Key:
    """The key with this id; AdminError 404 when there is none, StoreUnavailable."""
    key = await keys.get(key_id)
    if key is None:
        raise _unknown()
    return key


def _unknown() -> AdminError:
    return AdminError(NOT_FOUND, "There is no key with this id.", param="key_id")
