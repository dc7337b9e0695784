from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sidecar.cli import config_file, configuration
from sidecar.settings import SettingsError
from tests.support.tools import require


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(text: str) -> list[str]:
    Path("c.yaml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        configuration.read("c.yaml", {})
    return refused.value.faults


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        configuration.read("absent.yaml", {})


@pytest.mark.parametrize("place", ["sidecar.yaml", "etc/sidecar.yaml"])
def test_a_file_that_was_read_must_be_there_when_it_is_read_again(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody named it, so without it the next one, or the defaults, would hold: another hub, and every address of the machine."""
    monkeypatch.setattr(config_file, "PLACES", (Path("sidecar.yaml"), Path("etc/sidecar.yaml")))
    Path("etc").mkdir()
    Path("etc/sidecar.yaml").write_text("{enforcement: off}")
    Path(place).write_text("{enforcement: shadow}")
    read = configuration.reader(None, {})
    assert read().enforcement == "shadow"
    Path(place).rename("saved.yaml")
    with pytest.raises(SettingsError, match=rf"^{place}: cannot be read \(No such file"):
        read()
    Path("saved.yaml").rename(place)
    assert read().enforcement == "shadow"


def test_a_file_may_come_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "PLACES", (Path("sidecar.yaml"),))
    read = configuration.reader(None, {})
    assert read().enforcement == "enforce"
    Path("sidecar.yaml").write_text("{enforcement: shadow}")
    assert read().enforcement == "shadow"
    Path("sidecar.yaml").unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        read()


def test_what_the_settings_name_is_looked_at_too() -> None:
    found = faults(
        "hub: {profile: ./mine.yaml, ca_file: ./ca.pem}\nstore: {url: 'redis+sentinel://h:1'}\n"
        "proxy: {tls: {certificate_file: c.pem, key_file: k.pem}}"
    )
    assert [fault.split(":")[0] for fault in found] == ["hub.profile", "store.url", "proxy.tls.certificate_file", "hub.ca_file"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("authz: {listen: '127.0.0.1:9464'}", "metrics.listen: is the address of authz.listen too; choose another one"),
        ("authz: {listen: '127.0.0.1:0'}", "authz.listen: needs a port from 1 to 65535, for every process that shares it must know it"),
    ],
)
def test_where_authz_is_told_to_listen_is_looked_at_too(text: str, fault: str) -> None:
    """`systemctl reload` of one that runs asks `sidecar config check`."""
    assert faults(text) == [fault]


@pytest.mark.parametrize("text", ["metrics: {listen: '127.0.0.1:9191'}", "authz: {listen: '0.0.0.0:8080'}"])
def test_authz_is_in_the_way_of_nobody_else(text: str) -> None:
    Path("c.yaml").write_text(text)
    assert configuration.read("c.yaml", {})


def test_what_the_control_process_could_not_begin_with() -> None:
    assert faults("anomaly: {geo_file: /nowhere/geo.mmdb}")[0].startswith("anomaly.geo_file: /nowhere/geo.mmdb cannot be used (")
    assert "anomaly.geo_file" in faults("anomaly: {geo_file: c.yaml}")[0]


@pytest.mark.parametrize("secret", ["whsec_", "whsec_canary***"])
def test_a_signing_secret_that_signs_nothing(secret: str) -> None:
    (fault,) = faults(f"notifications: {{webhook_secret: '{secret}'}}")
    assert fault.startswith("notifications.webhook_secret: ")
    assert "canary" not in fault


def test_a_path_that_is_none_is_a_fault_like_others() -> None:
    found = faults('hub: {ca_file: "a\\0b"}\nproxy: {tls: {certificate_file: "a\\0b", key_file: k}}')
    assert [fault.split(":")[0] for fault in found] == ["proxy.tls.certificate_file", "hub.ca_file"]


def test_a_certificate_and_a_key_that_do_not_fit() -> None:
    openssl = require("openssl", install="apt-get install openssl")
    for name in ("a", "b"):
        pair(openssl, name)
    good = "admin: {tls: {certificate_file: a.pem, key_file: a.key}}"
    Path("good.yaml").write_text(good)
    assert configuration.read("good.yaml", {}).admin.tls is not None
    assert "belong together" in faults(good.replace("a.key", "b.key"))[0]
    subprocess.run([openssl, "ec", "-in", "a.key", "-aes256", "-passout", "pass:x", "-out", "locked.key"], check=True, capture_output=True)
    assert "passphrase" in faults(good.replace("a.key", "locked.key"))[0]
    Path("garbage").write_text("garbage")
    assert "PEM" in faults(good.replace("a.pem", "garbage"))[0]


def pair(openssl: str, name: str) -> None:
    """A certificate `<name>.pem` and its key `<name>.key`."""
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*command, "-keyout", f"{name}.key", "-out", f"{name}.pem"], check=True, capture_output=True)


@pytest.mark.parametrize("url", ["rediss://:canary@h/?", "redis+sentinel://:canary@h/s?tls=true&", "redis+cluster://:canary@h/?tls=true&"])
def test_the_files_of_a_stores_tls(url: str) -> None:
    """With one that cannot be used, all that a running sidecar could say is that the store cannot be reached."""
    openssl = require("openssl", install="apt-get install openssl")
    for name in ("a", "b"):
        pair(openssl, name)
    Path("both.pem").write_text(Path("a.pem").read_text() + Path("a.key").read_text())
    Path("garbage").write_text("garbage")
    for good in ("ca_file=a.pem", "ca_file=a.pem&certificate_file=a.pem&key_file=a.key", "certificate_file=both.pem"):
        Path("good.yaml").write_text(f"store: {{url: '{url}{good}'}}")
        configuration.read("good.yaml", {})
    for query, told in (
        ("ca_file=/nope", "ca_file /nope does not hold certificates in PEM form (No such file or directory)"),
        ("ca_file=garbage", "ca_file garbage does not hold certificates in PEM form ("),
        ("certificate_file=/nope&key_file=a.key", "certificate_file /nope cannot be read (No such file or directory)"),
        ("certificate_file=a.pem&key_file=/nope", "key_file /nope cannot be read (No such file or directory)"),
        ("certificate_file=a.pem&key_file=b.key", "certificate and key cannot be used ("),
        ("certificate_file=a.pem", "certificate and key cannot be used ("),
        ("key_file=a.key", "has ?key_file= without ?certificate_file=; add that"),
    ):
        (fault,) = faults(f"store: {{url: '{url}{query}'}}")
        assert fault.startswith(f"store.url: {told}")
        assert "canary" not in fault


def test_faults_of_every_kind_are_told_together() -> None:
    """Names and types, values that cannot work, and what the settings name: nobody mends a file in rounds."""
    found = faults(
        "proxy: {workers: 0, listne: x, timeouts: {header: 0s}}\nkeys: {prefix: sat}\nhub: {profile: nosuch, url: 'ftp://x'}\n"
        "store: {url: 'redis://h/?foo=1'}\nlog: {level: loud}\nanomaly: {geo_file: /nowhere/geo.mmdb, known_networks: [x]}\n"
    )
    assert sorted(fault.split(":")[0] for fault in found) == [
        "anomaly.geo_file",
        "anomaly.known_networks[0]",
        "hub.profile",
        "hub.url",
        "keys.prefix",
        "log.level",
        "proxy.listne",
        "proxy.timeouts.header",
        "proxy.workers",
        "store.url",
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        # Whatever stands in the place of a wrong value was chosen by nobody.
        ("proxy: {listen: nonsense}\nadmin: {listen: '0.0.0.0:8080'}", "proxy.listen"),
        ("spool: {segment_bytes: many, max_bytes: 1MiB}", "spool.segment_bytes"),
        ("proxy: {tls: {certificate_file: /nowhere}}", "proxy.tls.key_file"),
        ("proxy: 5", "proxy"),
        ("store: {url: 'http://x'}", "store.url"),
        ("proxy: {trusted_proxies: 5}", "proxy.trusted_proxies"),
        ("notifications: {webhooks: 5}", "notifications.webhooks"),
    ],
)
def test_nothing_is_said_of_what_stands_in_for_a_wrong_value(text: str, path: str) -> None:
    assert [fault.split(":")[0] for fault in faults(text)] == [path]


def test_a_file_that_is_no_yaml_is_all_that_is_told() -> None:
    assert len(faults("proxy: [")) == 1
