"""What is taken for the record of what the journal kept."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar.control.audit.event import Change, Event, Party, interrupted, is_record_of
from tests.control.audit.test_log import event

ONE = event()
SEALED = replace(ONE, sequence=7, prev_hash="0" * 64)
MADE = replace(ONE, target=None)
"""Of an act that makes what it acts on."""


@pytest.mark.parametrize(
    ("logged", "kept", "expected"),
    [
        (SEALED, ONE, (True, True)),
        (replace(SEALED, actor=Party("admin_token", "adm_bob")), ONE, (False, False)),
        (replace(SEALED, outcome="denied"), ONE, (False, False)),
        (replace(SEALED, changes={"name": Change(None, True)}), replace(ONE, changes={"name": Change(None, 1)}), (False, False)),
        (interrupted(SEALED), interrupted(ONE), (True, True)),
        # What was kept before the act: the log may know its end, and what it made.
        (SEALED, interrupted(ONE), (False, True)),
        (replace(SEALED, changes={}, reason="asked for"), interrupted(ONE), (False, True)),
        (SEALED, interrupted(MADE), (False, True)),
        (replace(SEALED, target=Party("api_key", "key_1", "a name")), interrupted(ONE), (False, True)),
        (replace(SEALED, target=Party("api_key", "key_2")), interrupted(ONE), (False, False)),
        (replace(SEALED, target=None), interrupted(ONE), (False, False)),
        (replace(SEALED, action="api_key.updated"), interrupted(ONE), (False, False)),
        (replace(SEALED, actor=Party("admin_token", "adm_bob")), interrupted(ONE), (False, False)),
        # No end either, and yet another one.
        (replace(interrupted(SEALED), changes={}), interrupted(ONE), (False, False)),
        # Only what says that it was interrupted.
        (SEALED, replace(ONE, outcome="unknown"), (False, False)),
    ],
)
def test_what_is_the_record_of_what_was_kept(logged: Event, kept: Event, expected: tuple[bool, bool]) -> None:
    assert (is_record_of(logged, kept, completed=False), is_record_of(logged, kept, completed=True)) == expected
