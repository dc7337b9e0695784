from __future__ import annotations

import json

from sidecar.hubs.blocklet import AI_KIT_DID, blocklet_answer


def test_json_for_the_sdk():
    content_type, body = blocklet_answer("type=json")
    document = json.loads(body)
    assert content_type.startswith("application/json")
    assert document["componentMountPoints"][0]["did"] == AI_KIT_DID
    assert document["componentMountPoints"][0]["mountPoint"] == "/"


def test_a_script_for_browsers():
    content_type, body = blocklet_answer("")
    assert content_type.startswith("application/javascript")
    assert json.loads(body.removeprefix(b"window.blocklet = ").removesuffix(b";\n")) == json.loads(blocklet_answer("type=json")[1])
