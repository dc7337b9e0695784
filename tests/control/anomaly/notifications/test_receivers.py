from __future__ import annotations

from sidecar.control.anomaly.notifications.receivers import Receivers
from tests.support.keys import OLDER_PEPPER, PEPPER

URLS = ("https://hooks.example/services/T0/B0/secret", "http://pager/")


def test_a_name_tells_its_url_to_who_has_the_pepper_and_the_url() -> None:
    receivers = Receivers(URLS, PEPPER)
    assert [receivers.url(name) for name in receivers.names] == list(URLS)
    assert receivers.url("x") is None and receivers.url(URLS[0]) is None
    assert not {*receivers.names} & {*Receivers(URLS, OLDER_PEPPER).names}
    assert not any(part in name for name in receivers.names for part in ("hooks", "secret", "pager"))
    assert Receivers(URLS[1:], PEPPER).url(receivers.names[0]) is None


def test_names_and_seals_of_the_previous_pepper_are_known_and_no_others() -> None:
    before, changed, after = Receivers(URLS, OLDER_PEPPER), Receivers(URLS, PEPPER, OLDER_PEPPER), Receivers(URLS, PEPPER)
    assert [changed.url(name) for name in before.names] == list(URLS)
    assert changed.names == after.names and changed.seal(b"x") == after.seal(b"x")
    assert changed.vouch(b"x", before.seal(b"x")) and changed.vouch(b"x", after.seal(b"x"))
    assert not after.vouch(b"x", before.seal(b"x"))
    assert [after.url(name) for name in before.names] == [None, None]


def test_a_seal_is_of_one_text() -> None:
    receivers = Receivers(URLS, PEPPER)
    assert not receivers.vouch(b"y", receivers.seal(b"x"))
    assert not receivers.vouch(b"x", b"")
    assert not receivers.vouch(URLS[0].encode(), receivers.names[0].encode())
