"""Rotation and its boundary seconds, as plain values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys import issue
from sidecar.keys.digest import Digester
from sidecar.keys.record import Key, Secret, secret_is_live
from sidecar.keys.token import generate
from tests.support.keys import PEPPER

DIGESTER = Digester("ahk", PEPPER)


def fresh(now: float) -> Secret:
    return issue.new_secret(generate("ahk"), DIGESTER, now)


def key_with(*secrets: Secret) -> Key:
    return Key(id="key_1", name="app", created_at=0.0, secrets=secrets)


def test_the_old_secret_lives_until_the_grace_ends() -> None:
    old, new = fresh(0), fresh(100)
    key = issue.rotated(key_with(old), new, 100.0, 60.0)
    assert [secret.id for secret in key.secrets] == [new.id, old.id]
    retiring = key.secrets[1]
    assert (retiring.state, retiring.expires_at) == ("retiring", 160.0)
    assert secret_is_live(retiring, 159.999)
    assert not secret_is_live(retiring, 160.0)


def test_without_grace_the_old_secret_is_dead_and_remembered() -> None:
    old = fresh(0)
    key = issue.rotated(key_with(old), fresh(100), 100.0, 0.0)
    assert key.secrets[1].state == "revoked"
    assert key.secret(old.digest) is not None
    assert not secret_is_live(key.secrets[1], 100.0)


def test_a_second_rotation_does_not_prolong_the_first() -> None:
    key = issue.rotated(key_with(fresh(0)), fresh(10), 10.0, 60.0)
    key = issue.rotated(key, fresh(20), 20.0, 3600.0)
    assert [secret.state for secret in key.secrets] == ["current", "retiring", "retiring"]
    assert [secret.expires_at for secret in key.secrets] == [None, 3620.0, 70.0]
    assert key.secrets[2].retired_at == 10.0


@pytest.mark.parametrize(("grace", "ends"), [(0.0, [None, 20.0, 20.0]), (60.0, [None, 80.0, 80.0]), (7200.0, [None, 7220.0, 3610.0])])
def test_no_old_secret_outlives_the_grace_of_the_last_rotation(grace: float, ends: list[float | None]) -> None:
    """A leaked secret may be one that is retiring already: whoever rotates with 0s ends it too."""
    key = issue.rotated(key_with(fresh(0)), fresh(10), 10.0, 3600.0)
    key = issue.rotated(key, fresh(20), 20.0, grace)
    assert [secret.expires_at for secret in key.secrets] == ends
    assert [secret.created_at for secret in key.secrets if secret_is_live(secret, 21.0)] == ([20, 10, 0] if grace else [20])
    assert [secret.state for secret in key.secrets] == ["current", *["retiring" if grace else "revoked"] * 2]


def test_an_end_that_has_come_is_not_moved() -> None:
    key = issue.rotated(key_with(fresh(0)), fresh(10), 10.0, 60.0)
    key = issue.rotated(key, fresh(100), 100.0, 0.0)
    assert [(secret.state, secret.expires_at) for secret in key.secrets] == [("current", None), ("revoked", 100.0), ("revoked", 70.0)]


@given(st.lists(st.sampled_from([0.0, 1.0, 5.0, 1000.0]), max_size=30))
def test_secrets_are_bounded_and_none_that_lives_is_dropped(graces: list[float]) -> None:
    key = key_with(fresh(0))
    for now, grace in enumerate(graces, start=1):
        alive = {secret.id for secret in key.secrets if secret_is_live(secret, now)}
        try:
            key = issue.rotated(key, fresh(now), float(now), grace)
        except issue.TooManySecrets:
            assert len(alive) == issue.MOST_SECRETS and grace > 0
            continue
        assert len(key.secrets) <= issue.MOST_SECRETS
        assert [secret.state for secret in key.secrets].count("current") == 1
        assert key.secrets[0].created_at == now
        assert grace == 0 or alive <= {secret.id for secret in key.secrets}, "with 0s all of them end, and of nine the last is forgotten"


def test_a_rotation_that_would_drop_a_living_secret_is_refused_and_names_the_one_that_ends_first() -> None:
    key, graces = key_with(fresh(0)), [900.0, 300.0, 600.0, *[900.0] * 4]
    for now, grace in enumerate(graces, start=1):
        key = issue.rotated(key, fresh(now), float(now), grace)
    assert len([secret for secret in key.secrets if secret_is_live(secret, 8.0)]) == issue.MOST_SECRETS
    soonest = key.secrets[-1]
    with pytest.raises(issue.TooManySecrets) as refused:
        issue.rotated(key, fresh(8), 8.0, 60.0)
    assert refused.value.secret_id == soonest.id
    spared = issue.rotated(issue.without_secret(key, soonest.id, 8.0), fresh(8), 8.0, 60.0)
    assert soonest.id not in {secret.id for secret in spared.secrets}, "the dead go"
    assert len(spared.secrets) == issue.MOST_SECRETS
    assert [secret.created_at for secret in issue.rotated(key, fresh(8), 8.0, 0.0).secrets if secret_is_live(secret, 8.0)] == [8.0]
    # Those with the shortest grace end by themselves.
    assert issue.rotated(key, fresh(400), 400.0, 60.0).secrets[0].created_at == 400.0


def test_ending_an_overlap() -> None:
    old = fresh(0)
    key = issue.rotated(key_with(old), fresh(10), 10.0, 60.0)
    ended = issue.without_secret(key, old.id, 20.0)
    assert (ended.secrets[1].state, ended.secrets[1].expires_at) == ("revoked", 20.0)
    assert issue.without_secret(ended, old.id, 30.0) == ended, "it ended then, and not again"
    over = issue.without_secret(key, old.id, 5000.0)
    assert (over.secrets[1].state, over.secrets[1].expires_at) == ("revoked", key.secrets[1].expires_at)
    with pytest.raises(KeyError):
        issue.without_secret(key, key.secrets[0].id, 20.0)
    with pytest.raises(KeyError):
        issue.without_secret(key, "sec_nothing", 20.0)


def test_ids_say_nothing_of_the_secret() -> None:
    token = generate("ahk")
    secret = issue.new_secret(token, DIGESTER, 0.0)
    assert secret.id.startswith("sec_")
    assert len(issue.new_id("key")) == 20
    assert token[4:-4] not in repr(secret)


def test_a_secret_is_ended_whichever_it_is_and_once() -> None:
    key = issue.rotated(key_with(fresh(0)), fresh(10), 10.0, 3600.0)
    current, retiring = (secret.id for secret in key.secrets)
    dead = issue.with_ended(key, {current: 20.0, retiring: 30.0, "sec_of_another": 40.0})
    assert [(secret.state, secret.expires_at) for secret in dead.secrets] == [("revoked", 20.0), ("revoked", 30.0)]
    assert issue.with_ended(dead, {current: 50.0}) is dead
    assert issue.with_ended(key, {"sec_of_another": 40.0}) is key


def test_what_a_change_has_ended() -> None:
    key = issue.rotated(key_with(fresh(0)), fresh(10), 10.0, 3600.0)
    current, retiring = (secret.id for secret in key.secrets)
    assert issue.ended_secrets(key, issue.rotated(key, fresh(20), 20.0, 60.0), 20.0) == []
    assert issue.ended_secrets(key, issue.rotated(key, fresh(20), 20.0, 0.0), 20.0) == [current, retiring]
    assert issue.ended_secrets(key, issue.without_secret(key, retiring, 20.0), 20.0) == [retiring]
    assert issue.ended_secrets(key, key_with(), 3610.0) == [current], "the other one ended by itself"
