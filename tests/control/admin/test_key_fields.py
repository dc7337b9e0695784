"""From messages to key members: one normal form, every fault together, absent and null kept apart."""

from __future__ import annotations

import ipaddress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.admin.errors import AdminError
from sidecar.control.admin.key_fields import changed_members, new_members, normal_network
from sidecar.control.admin.messages.keys import ImportedKey, KeyChange, KeysQuery, NewKey, Rotation
from sidecar.keys.record import Limits, Quota


def new(**members: object) -> dict[str, object]:
    return new_members(msgspec.convert({"name": "a", **members}, NewKey))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8::5/32", "2001:db8::/32"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7/120", "203.0.113.0/24"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
    ],
)
def test_networks_have_one_spelling(given: str, kept: str) -> None:
    assert normal_network(given) == kept


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 128))
def test_normal_networks_are_stable(address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int) -> None:
    once = normal_network(f"{address}/{min(prefix, address.max_prefixlen)}")
    assert normal_network(once) == once


def test_a_new_key_with_everything() -> None:
    members = new(
        owner="o",
        expires_at="2027-01-01T01:00:00+01:00",
        allowed_routes=["chat", "POST /api/v2/chat", "chat"],
        allowed_models=[],
        allowed_ips=["10.0.0.1/8"],
        limits={"rpm": 5, "enforcement": {"rpm": "shadow"}},
        quota={"tokens": 7, "period": "day", "timezone": "Europe/Berlin"},
        tags=["x", "x"],
    )
    assert members["expires_at"] == 1_798_761_600.0
    assert members["allowed_routes"] == ("chat", "POST /api/v2/chat")
    assert members["allowed_models"] == ()
    assert members["allowed_ips"] == ("10.0.0.0/8",)
    assert members["limits"] == Limits(5, None, None, {"rpm": "shadow"})
    assert members["quota"] == Quota(None, 7, "day", "Europe/Berlin")
    assert members["tags"] == ("x",)


def test_a_new_key_with_nothing_but_a_name() -> None:
    members = new()
    assert (members["allowed_routes"], members["allowed_models"], members["allowed_ips"]) == (None, None, None)
    assert (members["limits"], members["quota"], members["metadata"]) == (Limits(), None, {})


def test_every_fault_is_reported_together() -> None:
    with pytest.raises(AdminError) as caught:
        new(name=" ", allowed_ips=["10.0.0.1", "nonsense", "fe80::1%eth0"], allowed_routes=["/a/**/b"], quota={"timezone": "Mars/Base"})
    for part in ("name: ", "allowed_ips[1]: ", "allowed_ips[2]: ", "allowed_routes[0]: ", "quota: ", "quota.timezone: "):
        assert part in caught.value.detail
    assert caught.value.param == "name"


@pytest.mark.parametrize("zone", ["../etc/passwd", "/etc/passwd", "America", "", " ", "x" * 60, "nul\x00"])
def test_zones_that_are_none(zone: str) -> None:
    with pytest.raises((AdminError, msgspec.ValidationError)):
        new(quota={"requests": 1, "timezone": zone})


@pytest.mark.parametrize("name", ["a\n", "a\nb", "\x1b[31mred", "evil\u202egnp", "tab\t", "\u200b", "\u2060 \u00ad"])
def test_names_that_do_not_look_like_what_they_are(name: str) -> None:
    with pytest.raises((AdminError, msgspec.ValidationError)):
        new(name=name)


@pytest.mark.parametrize(
    ("message", "given"),
    [
        (ImportedKey, {"name": "a", "sha256": "0" * 64, "hint": "…1234\n"}),
        (Rotation, {"grace_period": "24h\n"}),
        (KeysQuery, {"cursor": "abc\n"}),
    ],
)
def test_a_line_feed_at_the_end_is_no_part_of_any_form(message: type[msgspec.Struct], given: dict[str, str]) -> None:
    assert msgspec.convert({name: value.rstrip() for name, value in given.items()}, message)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, message)


@pytest.mark.parametrize("name", ["Büro Köln", "客户端", "a" * 128, "<script>alert(1)</script>", "=1+1", "👩‍💻 laptop"])
def test_names_that_are_fine(name: str) -> None:
    assert new(name=name)["name"] == name


def change(given: dict[str, object], limits: Limits | None = None) -> dict[str, object]:
    return changed_members(msgspec.convert(given, KeyChange), limits or Limits())


def test_only_what_is_given_changes() -> None:
    assert change({}) == {}
    assert change({"name": "b"}) == {"name": "b"}
    assert change({"owner": None, "quota": None, "allowed_ips": None, "metadata": None, "tags": None, "throttled_until": None}) == {
        "owner": "",
        "quota": None,
        "allowed_ips": None,
        "metadata": {},
        "tags": (),
        "throttled_until": None,
    }


def test_limits_change_one_by_one() -> None:
    limits = Limits(1, 2, 3, {"rpm": "shadow"})
    assert change({"limits": {"rpm": 9}}, limits) == {"limits": Limits(9, 2, 3, {"rpm": "shadow"})}
    assert change({"limits": {"tpm": None, "enforcement": None}}, limits) == {"limits": Limits(1, None, 3)}
    assert change({"limits": None}, limits) == {"limits": Limits()}
    assert change({"limits": {"enforcement": {"tpm": "off"}}}, limits) == {"limits": Limits(1, 2, 3, {"rpm": "shadow", "tpm": "off"})}
    assert change({"limits": {"enforcement": {"rpm": None}}}, limits) == {"limits": Limits(1, 2, 3)}
