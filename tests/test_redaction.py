"""What is taken for a secret and what is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.token import ALPHABET, generate
from sidecar.redaction import SHORTEST, without_secrets

KEY = generate("ahk")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (KEY, "ahk_…"),
        (f"/v1/{KEY}/x?a={KEY}", "/v1/ahk_…/x?a=ahk_…"),
        ("/v1/" + "".join(f"%{byte:02x}" for byte in KEY.encode()), "/v1/…"),
        ("/v1/" + "".join(f"%{byte:02X}" if number % 2 else chr(byte) for number, byte in enumerate(KEY.encode())), "/v1/…"),
        ("blocklet-z8eqMHoCuMhn5Jqns3i9H8", "blocklet-…"),
        ("blocklet-" + "z" * 20, "blocklet-…"),
        ("blocklet-" + "z" * 19, "blocklet-" + "z" * 19),
        ("a" * 39, "a" * 39),
        ("a" * 40, "…"),
    ],
)
def test_secrets_are_marked(text: str, left: str) -> None:
    assert without_secrets(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/api/v2/chat/completions",
        "accounts/fireworks/models/llama-v3p1-405b-instruct",
        "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "/v1/threads/thread_abcDEF0123456789abcDEF01/runs/123e4567-e89b-12d3-a456-426614174000",
        "/%E4%BD%A0%E5%A5%BD%E4%B8%96%E7%95%8C%E4%BD%A0%E5%A5%BD%E4%B8%96%E7%95%8C%E4%BD%A0%E5%A5%BD",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_key_is_left_wherever_it_stands(before: str, after: str) -> None:
    assert KEY[4:] not in without_secrets(before + KEY + after)


@given(st.integers(0, 300))
def test_a_secret_at_the_cut_is_marked_too(length: int) -> None:
    left = without_secrets("-" * 200 + KEY + "-" * 600, length)
    assert len(left) <= length
    assert KEY[4:10] not in left


@given(st.text(alphabet=ALPHABET + "%_-/ é", max_size=SHORTEST * 4))
def test_it_is_done_once(text: str) -> None:
    assert without_secrets(without_secrets(text)) == without_secrets(text)


@pytest.mark.parametrize("piece", ["a" * 39 + "-", "%41" * 39 + "-", "%", "%4", "blocklet-", "a%"])
def test_long_texts_take_no_long_time(piece: str) -> None:
    begun = time.process_time()
    without_secrets(piece * (100_000 // len(piece)))
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(("longest", "kept"), [({}, 8192), ({"longest": 600}, 600), ({"longest": 9000}, 9000), ({"longest": 9999}, 9500)])
def test_a_text_is_cut_to_what_is_asked_for(longest: dict[str, int], kept: int) -> None:
    assert without_secrets("-" * 9500, **longest) == "-" * kept


def test_what_is_looked_at_is_bounded() -> None:
    assert without_secrets("a" * 611 + "-bc", 100) == "…-"
