from __future__ import annotations

import base64
import time
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.notifications.outbox import BACK_OFF, Message, headers, messages, new_secret, secret_bytes
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.control.anomaly.record import Anomaly, Evidence
from tests.support.documents import blocks
from tests.support.keys import PEPPER
from tests.support.source import ROOT

ONE, TWO = (Receivers(("http://a", "http://b")[:count], PEPPER) for count in (1, 2))


def _anomaly() -> Anomaly:
    return Anomaly(
        id="anm_1", subject="key", key_id="key_1", key_name="billing", source="", level="page", score=6,
        started_at=1000.0, updated_at=1010.0, signals=[
            Evidence("agent_change", 1, 1001.0, "program never used before: curl"),
            Evidence("new_network", 3, 1000.0, "first use from x"),
        ],
        active=["new_network"], policy="disable", instance="one",
    )  # fmt: skip


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks specification's reference libraries."""
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", "http://r", 0, "", 0, 0, b'{"test": 2432232314}')
    signed = headers(message, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330.5)
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed["webhook-id"] == message.id
    assert signed["webhook-timestamp"] == "1614265330"


@pytest.mark.parametrize("secret", [new_secret(), "plain"], ids=["made", "text"])
def test_the_receiver_of_the_manual_believes_what_is_signed_and_new(secret: str) -> None:
    (program,) = [block.text for block in blocks(ROOT / "docs" / "anomaly-detection.md") if "def verified(" in block.text]
    names: dict[str, Any] = {}
    exec(program, names)
    (message,) = messages(_anomaly(), "page", ONE, time.time())
    sent = headers(message, secret, time.time())
    assert names["verified"](sent, message.body, secret)["data"]["id"] == "anm_1"
    for given, body in ((sent, message.body + b" "), (sent | {"webhook-id": "msg_other"}, message.body)):
        with pytest.raises(ValueError, match="not ours"):
            names["verified"](given, body, secret)
    with pytest.raises(ValueError, match="old"):
        names["verified"](headers(message, secret, time.time() - 600), message.body, secret)


def test_a_secret_is_base64_behind_its_prefix_or_the_text_itself() -> None:
    assert len(secret_bytes(new_secret())) == 32
    assert secret_bytes("plain") == b"plain"
    assert secret_bytes("whsec_" + base64.b64encode(b"abc").decode()) == b"abc"
    with pytest.raises(ValueError, match="not base64"):
        secret_bytes("whsec_!")


def test_a_message_tells_name_and_evidence_and_a_repeat_has_the_same_id() -> None:
    first, second = messages(_anomaly(), "page", TWO, 2000.0)
    (again,) = messages(_anomaly(), "page", ONE, 3000.0)
    assert first.id == second.id == again.id
    assert first.name == again.name != second.name
    assert messages(_anomaly(), "warn", ONE, 2000.0)[0].id != first.id
    body = msgspec.json.decode(first.body)
    assert (body["type"], body["timestamp"]) == ("anomaly.page", "1970-01-01T00:33:20Z")
    data = body["data"]
    assert (data["key_name"], data["policy"], data["summary"]) == (
        "billing",
        "disable",
        "First use from x; program never used before: curl",
    )
    assert [(signal["signal"], signal["active"]) for signal in data["signals"]] == [("new_network", True), ("agent_change", False)]


def test_attempts_come_later_and_later_until_there_are_no_more() -> None:
    (message,) = messages(_anomaly(), "page", ONE, 0.0)
    waits = []
    now = 0.0
    while message.postpone(now):
        waits.append(message.next_at - now)
        now = message.next_at
    assert waits == list(BACK_OFF) == sorted(BACK_OFF)
    assert Message.decode(message.encode(), message.shard, message.name) == message
    assert Message.decode(b"\xc1", 0, b"m") is None
    message.attempts = -1
    assert Message.decode(message.encode(), message.shard, message.name) is None


def test_a_message_keeps_its_seal_through_attempts_and_loses_it_with_whatever_it_says() -> None:
    for message in messages(_anomaly(), "page", TWO, 0.0):
        assert TWO.vouch(message.sealed, message.seal)
        message.postpone(5.0)
        kept = Message.decode(message.encode(), 7, b"elsewhere")
        assert kept is not None and (kept.shard, kept.name) == (7, b"elsewhere") and TWO.vouch(kept.sealed, kept.seal)
        # What stands beside each other is not to be cut elsewhere.
        shifted = {"receiver": message.receiver + message.id[:1], "id": message.id[1:]}
        others = {"id": "msg_2", "body": message.body + b" ", "receiver": TWO.names[message.receiver == TWO.names[0]], "seal": b""}
        for changed in ({name: value} for name, value in others.items()):
            one = replace(message, **changed)
            assert not TWO.vouch(one.sealed, one.seal), changed
        assert not TWO.vouch(replace(message, **shifted).sealed, message.seal)


@pytest.mark.parametrize(("attempts", "waits"), [(0, 0), (1, 5), (2, 30), (12, 86400), (13, 86400)])
def test_a_message_is_due_at_its_time_or_when_that_is_further_away_than_it_ever_is(attempts: int, waits: int) -> None:
    message = Message("msg_1", "u", 0, "all", 0, 1000, b"", attempts)
    due = [now for now in (1000 - waits - 1, 1000 - waits, 999, 1000, 1001) if message.is_due(now)]
    assert due == ([999, 1000, 999, 1000, 1001] if not waits else [1000 - waits - 1, 1000, 1001])
