"""A sidecar with something to see: keys of all kinds, use, refusals, alerts, events."""

from __future__ import annotations

from tests.console.history import history
from tests.support.sidecar import Sidecar, wait_until

NAMES = (
    ("Invoice assistant, production", "billing"),
    ("Support bot", "support"),
    ("Data pipeline, nightly", "platform"),
    ("Mobile app, beta", "mobile"),
    ("Playground", ""),
    ("Search indexer", "platform"),
)
MODELS = ("openai/gpt-5-mini", "anthropic/claude-sonnet-4", "google/gemini-2.5-pro")


def chat(model: str) -> dict[str, object]:
    return {"input": {"messages": [{"role": "user", "content": "Hi"}], "modelOptions": {"model": model}}}


def _secret_id(sidecar: Sidecar, key_id: str) -> str:
    return str(sidecar.admin("GET", f"/keys/{key_id}").json["key"]["secrets"][0]["id"])


def seed(sidecar: Sidecar) -> dict[str, str]:
    """Fill `sidecar`; ids by name."""
    ids: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for name, owner in NAMES:
        limits = {"rpm": 60} if name == "Support bot" else {}
        ids[name], secrets[name] = sidecar.create_key(name=name, owner=owner, limits=limits, tags=["demo"])
    history(sidecar, [(ids[name], _secret_id(sidecar, ids[name])) for name, _ in NAMES[:4]])
    for number, (name, _) in enumerate(NAMES[:4]):
        for turn in range(4 * (number + 1)):
            sidecar.ask(secrets[name], body=chat(MODELS[(number + turn) % 3]), User_Agent=f"app-{number}/1.{turn % 2}")
    for _ in range(70):
        sidecar.ask(secrets["Support bot"], body=chat(MODELS[0]))
    sidecar.ask(secrets["Playground"], "/nowhere", method="GET")
    key = ids["Invoice assistant, production"]
    assert sidecar.admin("POST", f"/keys/{key}/rotate", {"grace_period": "24h"}).status == 200
    sidecar.ask(secrets["Invoice assistant, production"], body=chat(MODELS[1]))
    assert sidecar.admin("POST", f"/keys/{ids['Search indexer']}/disable", {"reason": "moved"}).status == 200
    assert sidecar.admin("POST", f"/keys/{ids['Playground']}/revoke", {}).status == 200
    # A revoked secret that goes on being presented, and many more refusals than the key ever had: an alert.
    for _ in range(60):
        sidecar.ask(secrets["Playground"], body=chat(MODELS[2]), User_Agent="python-requests/2.31")
    wait_until(lambda: sidecar.admin("GET", f"/keys/{ids['Playground']}/usage").json["totals"]["denied"] >= 60, within=10, what="use")
    return ids
