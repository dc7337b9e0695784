from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.token import ALPHABET, CHECKSUM_LENGTH, RANDOM_LENGTH, checksum, generate, hint, is_well_formed, pasted

RANDOM = st.text(ALPHABET, min_size=RANDOM_LENGTH, max_size=RANDOM_LENGTH)
KNOWN = "ahk_" + "0" * 43


def complete(body: str) -> bytes:
    return (body + checksum(body)).encode()


def test_the_form_is_that_of_the_interface() -> None:
    """43 characters and 6 of the CRC-32, base62 with digits first, then capitals: a scanner elsewhere must find our keys."""
    token = generate("ahk")
    assert token.startswith("ahk_") and len(token) == 4 + 43 + 6 and token[4:].isalnum() and token.isascii()
    number = 0
    for character in token[-6:]:
        number = number * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(character)
    assert number == zlib.crc32(token[:-6].encode())


def test_a_checksum_by_hand() -> None:
    assert zlib.crc32(b"") == 0 and checksum("") == "000000"
    assert zlib.crc32(b"a") == 3904355907 and checksum("a") == "4GEHKN"
    assert len(checksum(KNOWN)) == 6


@given(RANDOM, st.sampled_from(["ahk", "a1", "prefix9"]))
def test_every_key_is_well_formed_and_only_under_its_prefix(body: str, prefix: str) -> None:
    token = complete(f"{prefix}_{body}")
    assert is_well_formed(token, prefix)
    assert not is_well_formed(token, prefix + "x")
    assert not is_well_formed(complete(f"zzz_{body}"), prefix)


@given(RANDOM, st.integers(0, 52), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(body: str, place: int, other: str) -> None:
    token = complete(f"ahk_{body}").decode()
    wrong = token[:place] + other + token[place + 1 :]
    assert is_well_formed(wrong.encode(), "ahk") is (wrong == token)


@pytest.mark.parametrize("length", [0, 1, 42, 44, 49])
def test_another_length_is_none(length: int) -> None:
    assert not is_well_formed(complete("ahk_" + "a" * length), "ahk")


@pytest.mark.parametrize("strange", ["-", "_", "é", "\0", " ", "+"])
def test_another_alphabet_is_none_though_its_checksum_be_right(strange: str) -> None:
    body = "ahk_" + "a" * (RANDOM_LENGTH - len(strange.encode())) + strange
    token = complete(body)
    assert len(token) == 4 + RANDOM_LENGTH + CHECKSUM_LENGTH
    assert not is_well_formed(token, "ahk")


@given(st.binary(max_size=80))
def test_no_bytes_are_too_strange(token: bytes) -> None:
    assert not is_well_formed(token, "ahk")


def test_keys_differ_and_use_the_whole_alphabet() -> None:
    made = [generate("ahk") for _ in range(200)]
    assert len(set(made)) == 200
    assert {character for token in made for character in token[4:-6]} == set(ALPHABET)


@pytest.mark.parametrize(
    ("token", "shown"), [("ahk_" + "x" * 45 + "1c96", "ahk_…1c96"), ("foreign", "…eign"), ("sk_a_b1234", "sk_…1234"), ("", "…")]
)
def test_the_hint(token: str, shown: str) -> None:
    assert hint(token) == shown


@pytest.mark.parametrize("character", ["!", "-", "_", " ", "/", "~"])
def test_only_letters_and_digits_make_a_key(character: str) -> None:
    assert not is_well_formed(complete("ahk_" + "0" * 42 + character), "ahk")
    assert is_well_formed(complete(KNOWN), "ahk")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("ahk_x", "ahk_x"),
        (" ahk_x\r\n", "ahk_x"),
        ("Bearer ahk_x", "ahk_x"),
        ("\tbEARER \t ahk_x ", "ahk_x"),
        ("Bearer Bearer ahk_x", "Bearer ahk_x"),
        ("bearer_x", "bearer_x"),
        ("x bearer y", "x bearer y"),
        ("Bearer ", "Bearer"),
        (" \n", ""),
    ],
)
def test_the_token_in_what_was_pasted(text: str, token: str) -> None:
    assert pasted(text) == token
