"""The access key goes where the profile puts it, not where it usually goes."""

from __future__ import annotations

import pytest

from sidecar.hubs.load import BUILT_IN, load_profile
from sidecar.hubs.session import headers
from sidecar.settings.declaration import Hub
from sidecar.settings.values import Secret

KEYED = Hub(access_key=Secret("k{client}"), host="hub.example")


@pytest.mark.parametrize("name", BUILT_IN)
def test_of_the_built_in_profiles(name: str) -> None:
    inject = load_profile(name).headers.inject
    assert headers(KEYED, inject, with_key=True) == {"Host": "hub.example", "authorization": "Bearer k{client}"}
    assert headers(KEYED, inject, with_key=False) == {"Host": "hub.example"}
    assert headers(Hub(), inject, with_key=True) == {}


def test_of_a_profile_with_another_credential_header() -> None:
    inject = {"x-api-key": "{access_key}", "x-mixed": "{key_id}:{access_key}:{client}", "x-client": "{key_id}"}
    assert headers(KEYED, inject, with_key=True) == {"Host": "hub.example", "x-api-key": "k{client}", "x-mixed": ":k{client}:"}
