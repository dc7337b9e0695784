from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sidecar.cli import configuration
from sidecar.settings import Settings, SettingsError, load
from sidecar.settings.load import from_bytes, to_bytes

BAD = sorted(Path(__file__).with_name("bad").glob("*.yaml"))


def from_text(tmp_path: Path, text: str, **environment: str) -> Settings:
    file = tmp_path / "sidecar.yaml"
    file.write_text(text)
    return load(file, environment)


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_file_is_refused_with_every_fault_and_no_other(file: Path) -> None:
    expected = [line.removeprefix("# expect: ") for line in file.read_text().splitlines() if line.startswith("# expect: ")]
    with pytest.raises(SettingsError) as refused:
        load(file, {})
    faults = [fault.replace(f"{file.parent}/", "") for fault in refused.value.faults]
    assert len(faults) == len(expected), faults
    for sentence in expected:
        assert any(fault.startswith(sentence) for fault in faults), (sentence, faults)
    assert "canary" not in str(refused.value)


def test_without_anything_the_defaults_hold() -> None:
    assert load(None, {}) == Settings()


def test_an_empty_file_and_empty_sections_are_the_defaults(tmp_path: Path) -> None:
    assert from_text(tmp_path, "") == from_text(tmp_path, "# nothing\n") == from_text(tmp_path, "hub:\nproxy: {}\n") == Settings()


@pytest.mark.parametrize(("section", "name"), [("proxy", "realm"), ("keys", "prefix")])
def test_a_line_feed_at_the_end_of_a_block_is_no_part_of_a_name(tmp_path: Path, section: str, name: str) -> None:
    """It would break the header of a refusal in two, or be the end of every key's prefix."""
    with pytest.raises(SettingsError, match=rf"{section}\.{name}: must be text matching"):
        from_text(tmp_path, f"{section}:\n  {name}: |\n    abc\n")
    assert getattr(getattr(from_text(tmp_path, f"{section}:\n  {name}: |-\n    abc\n"), section), name) == "abc"


def test_a_file_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(SettingsError, match=r"cannot be read .*give the path of a configuration file with -c"):
        load(Path("/nowhere/x.yaml"), {})


def test_the_environment_outranks_the_file(tmp_path: Path) -> None:
    settings = from_text(
        tmp_path,
        "hub: {url: http://file/}\nproxy: {workers: 2}\n",
        SIDECAR_HUB__URL="http://environment/",
        SIDECAR_PROXY__TIMEOUTS__HEADER="250ms",
        SIDECAR_PROXY__TRUSTED_PROXIES="10.0.0.0/8, ::1/128",
        SIDECAR_ADMIN__ALLOWED_HOSTS='["a.example"]',
        SIDECAR_LOG__ACCESS="true",
        SIDECAR_DATA_DIR="/var/lib/sidecar",
        SIDECAR__ENFORCEMENT="off",
        SIDECAR_PORT="tcp://10.0.0.1:80",
        SIDECAR_SERVICE_HOST="10.0.0.1",
    )
    assert (settings.hub.url, settings.proxy.workers, settings.proxy.timeouts.header) == ("http://environment/", 2, 0.25)
    assert (settings.proxy.trusted_proxies, settings.admin.allowed_hosts) == (("10.0.0.0/8", "::1/128"), ("a.example",))
    assert (settings.log.access, settings.data_dir, settings.enforcement) == (True, "/var/lib/sidecar", "off")


def test_what_a_variable_outranks_need_not_make_sense(tmp_path: Path) -> None:
    """The shipped file names HUB_ACCESS_KEY; whoever gives the setting itself has no such variable."""
    settings = from_text(tmp_path, "hub: {url: http://file/, access_key: '${NOT_SET_ANYWHERE}'}\n", SIDECAR_HUB__ACCESS_KEY="blocklet-abc")
    assert settings.hub.access_key.reveal() == "blocklet-abc"
    with pytest.raises(SettingsError, match=r"hub\.host: the environment variable NOT_SET_ANYWHERE is not set"):
        from_text(tmp_path, "hub: {url: http://file/, host: '${NOT_SET_ANYWHERE}'}\n", SIDECAR_HUB__ACCESS_KEY="blocklet-abc")


@pytest.mark.parametrize("text", ["access_key: blocklet-file", "access_key_file: /nowhere", "access_key: '${NOT_SET_ANYWHERE}'"])
def test_a_variable_outranks_both_forms_of_a_secret(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text("blocklet-environment")
    for variable, value in (("SIDECAR_HUB__ACCESS_KEY", "blocklet-environment"), ("SIDECAR_HUB__ACCESS_KEY_FILE", f"{tmp_path}/key")):
        settings = from_text(tmp_path, f"hub: {{{text}}}", **{variable: value})
        assert settings.hub.access_key.reveal() == "blocklet-environment"
    with pytest.raises(SettingsError, match="not both"):
        load(None, {"SIDECAR_HUB__ACCESS_KEY": "a", "SIDECAR_HUB__ACCESS_KEY_FILE": f"{tmp_path}/key"})


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        (
            {"SIDECAR_DATA_DIR": "/a", "SIDECAR__DATA_DIR": "/b"},
            "data_dir (from SIDECAR_DATA_DIR): is given by SIDECAR__DATA_DIR too; take one of the two variables away",
        ),
        (
            {"SIDECAR_HUB__URL": "http://a/", "SIDECAR_HUB__Url": "http://b/"},
            "hub.url (from SIDECAR_HUB__URL): is given by SIDECAR_HUB__Url too; take one of the two variables away",
        ),
        (
            {"SIDECAR_HUB__URL": "http://a/", "SIDECAR__HUB": "{profile: openai}"},
            "hub.url (from SIDECAR_HUB__URL): cannot be set, for a single value stands where its section belongs",
        ),
    ],
)
def test_a_setting_that_two_variables_give_is_refused(environment: dict[str, str], fault: str) -> None:
    """As in the file: one of them would win in silence."""
    with pytest.raises(SettingsError) as refused:
        load(None, environment)
    assert refused.value.faults == [fault]


def test_a_fault_says_which_variable_it_came_from() -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, {"SIDECAR_PROXY__LISTEN": "8080", "SIDECAR_HUB__COLOUR": "blue"})
    assert refused.value.faults[0].startswith("hub.colour (from SIDECAR_HUB__COLOUR): unknown setting")
    assert refused.value.faults[1].startswith("proxy.listen (from SIDECAR_PROXY__LISTEN): '8080' is not an address")


@pytest.mark.parametrize("content", [b"s3cret", b"s3cret\n", b"s3cret\r\n", b" s3cret \n\n", b"\xef\xbb\xbfs3cret\r\n"])
def test_a_secret_is_what_stands_in_its_file_whatever_editor_wrote_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    assert from_text(tmp_path, f"store: {{password_file: {tmp_path}/password}}").store.password.reveal() == "s3cret"


@pytest.mark.parametrize(
    "setting", ["hub.url", "hub.profile", "proxy.listen", "proxy.drain_timeout", "anomaly.known_networks", "hub.ca_file"]
)
@pytest.mark.parametrize("secret", ["blocklet-" + "zB7" * 12, "ahk_" + "zB7" * 16])
def test_a_secret_in_the_wrong_place_is_not_quoted(setting: str, secret: str) -> None:
    """As when two variables are taken for each other."""
    with pytest.raises(SettingsError) as refused:
        configuration.read(None, {f"SIDECAR_{setting.upper().replace('.', '__')}": secret})
    assert refused.value.faults and "zB7zB7" not in str(refused.value)


def test_a_list_of_secrets_may_come_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "hooks").write_text("https://hooks.example/one\n\n  https://hooks.example/two \n")
    expected = ["https://hooks.example/one", "https://hooks.example/two"]
    named = from_text(tmp_path, f"notifications: {{webhooks_file: {tmp_path}/hooks}}").notifications.webhooks
    assert [url.reveal() for url in named] == expected
    by_variable = load(None, {"SIDECAR_NOTIFICATIONS__WEBHOOKS_FILE": f"{tmp_path}/hooks"}).notifications.webhooks
    assert [url.reveal() for url in by_variable] == expected
    with pytest.raises(SettingsError, match="either webhooks or webhooks_file"):
        from_text(tmp_path, f"notifications: {{webhooks: ['https://a.example'], webhooks_file: {tmp_path}/hooks}}")
    (tmp_path / "hooks").write_text("no address\n")
    with pytest.raises(SettingsError, match=r"notifications\.webhooks"):
        from_text(tmp_path, f"notifications: {{webhooks_file: {tmp_path}/hooks}}")


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  blocklet-abc \n")
    settings = from_text(tmp_path, f"hub: {{access_key_file: {tmp_path}/key}}")
    assert settings.hub.access_key.reveal() == "blocklet-abc"
    assert load(None, {"SIDECAR_HUB__ACCESS_KEY_FILE": f"{tmp_path}/key"}).hub == settings.hub
    assert "blocklet-abc" not in repr(settings)


def test_a_secret_with_yaml_in_it_stays_a_secret(tmp_path: Path) -> None:
    secret = "a: b\n# c: [d"
    settings = from_text(tmp_path, "store: {password: '${PASSWORD}'}", PASSWORD=secret)
    assert settings.store.password.reveal() == secret


@pytest.mark.parametrize("host", ["https://hub.example", "hub.example/ai-kit", "hub.example:", "a..b", "a, b", "hub.example\n", "::1"])
def test_what_cannot_stand_in_a_host_header_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match=r"^hub\.host \(from SIDECAR_HUB__HOST\): is no host"):
        from_text(tmp_path, "", SIDECAR_HUB__HOST=host)


@pytest.mark.parametrize("host", ["", "hub", "hub.example.", "Hub_1.example:8443", "10.0.0.1:80", "[::1]", "[::1]:8443"])
def test_what_can_stand_in_a_host_header_is_taken(tmp_path: Path, host: str) -> None:
    assert from_text(tmp_path, "", SIDECAR_HUB__HOST=host).hub.host == host


@pytest.mark.parametrize(("setting", "sentence"), [("", "cannot be read"), ("hub.access_key_file: ", "cannot be read by user")])
def test_what_a_pipe_has_given_before_is_not_taken_for_nothing(setting: str, sentence: str) -> None:
    """As the shell's <(…) is at a reload; nothing would mean the defaults, and no key for the hub."""
    reading, writing = os.pipe()
    os.write(writing, b"hub: {access_key: first}" if not setting else b"first")
    os.close(writing)
    file = f"/dev/fd/{reading}"

    def again() -> Settings:
        return load(None, {"SIDECAR_HUB__ACCESS_KEY_FILE": file}) if setting else load(Path(file), {})

    try:
        assert again().hub.access_key.reveal() == "first"
        with pytest.raises(SettingsError) as refused:
            again()
    finally:
        os.close(reading)
    (fault,) = refused.value.faults
    assert f"{file} {sentence}" in fault or f"{file}: {sentence}" in fault
    assert "it is a pipe with nothing in it" in fault


def test_the_pepper_goes_with_the_data_directory(tmp_path: Path) -> None:
    assert from_text(tmp_path, "data_dir: /d").keys.pepper_file == "/d/pepper"
    assert load(None, {"SIDECAR_DATA_DIR": "/e/"}).keys.pepper_file == "/e/pepper"
    assert from_text(tmp_path, "data_dir: /d\nkeys: {pepper_file: /f}").keys.pepper_file == "/f"
    assert load(None, {"SIDECAR_DATA_DIR": "/e", "SIDECAR__KEYS": "{prefix: abc}"}).keys.pepper_file == "/e/pepper"
    assert load(None, {"SIDECAR_DATA_DIR": "/e", "SIDECAR__KEYS": "{pepper_file: /f}"}).keys.pepper_file == "/f"
    with pytest.raises(SettingsError, match=r"^keys \(from SIDECAR__KEYS\): is not YAML"):
        load(None, {"SIDECAR_DATA_DIR": "/e", "SIDECAR__KEYS": "{prefix"})
    assert from_text(tmp_path, "data_dir: /d\nkeys: {prefix: abc}").keys.prefix == "abc"


@pytest.mark.parametrize("word", ["off", "shadow", "enforce"])
def test_words_that_yaml_once_took_for_flags_are_words(tmp_path: Path, word: str) -> None:
    assert from_text(tmp_path, f"enforcement: {word}").enforcement == word


@hypothesis_settings(deadline=None)
@given(
    seconds=st.floats(0.001, 1e6),
    size=st.integers(32 << 20, 1 << 40),
    secret=st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    workers=st.one_of(st.just("auto"), st.integers(1, 256)),
)
def test_a_child_gets_the_settings_of_its_parent(seconds: float, size: int, secret: str, workers: int | str) -> None:
    environment = {
        "SIDECAR_PROXY__TIMEOUTS__HEADER": f"{round(seconds * 1000)}ms",
        "SIDECAR_SPOOL__MAX_BYTES": str(size),
        "SIDECAR_STORE__PASSWORD": secret,
        "SIDECAR_PROXY__WORKERS": str(workers),
        "SIDECAR_PROXY__LISTEN": "[::1]:9999",
        "SIDECAR_PROXY__TLS__CERTIFICATE_FILE": "c",
        "SIDECAR_PROXY__TLS__KEY_FILE": "k",
    }
    settings = load(None, environment)
    copy = from_bytes(to_bytes(settings))
    assert copy == settings
    assert copy.store.password.reveal() == secret
    assert (copy.proxy.listen.host, copy.proxy.listen.port, copy.hub.url.port) == ("::1", 9999, 3000)


def test_aliases_that_nest_without_end_are_a_fault(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]", *(f"a{number}: &a{number} [*a{number - 1}]" for number in range(1, 3000))]
    with pytest.raises(SettingsError, match="write the values out"):
        from_text(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("variable", "path", "setting"),
    [
        ("SIDECAR_HUB__URL__X", "hub.url.x", "hub.url"),
        ("SIDECAR_HUB__ACCESS_KEY__X__Y", "hub.access_key.x.y", "hub.access_key"),
        ("SIDECAR_PROXY__TRUSTED_PROXIES__0", "proxy.trusted_proxies.0", "proxy.trusted_proxies"),
        ("SIDECAR_DATA_DIR__X", "data_dir.x", "data_dir"),
    ],
)
def test_a_variable_that_goes_too_deep_is_named(variable: str, path: str, setting: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, {variable: "canary"})
    assert refused.value.faults == [f"{path} (from {variable}): is not a setting: {setting} is not a section"]


def test_a_section_where_a_value_belongs_is_said_of_a_file_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        from_text(tmp_path, "hub: {url: {host: canary, port: 1}}")
    assert refused.value.faults == [f"hub.url.{name}: is not a setting: hub.url is not a section" for name in ("host", "port")]


def test_a_slip_of_the_pen_is_guessed() -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, {"SIDECAR_HUB__ACESS_KEY": "x", "SIDECAR_HUB__COLOUR": "red"})
    slip, invented = refused.value.faults
    assert slip.endswith("; did you mean access_key?")
    assert "did you mean" not in invented


def test_a_secret_that_cannot_be_read_says_why_and_for_whom(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, {"SIDECAR_HUB__ACCESS_KEY_FILE": str(tmp_path)})
    assert refused.value.faults == [
        f"hub.access_key_file (from SIDECAR_HUB__ACCESS_KEY_FILE): {tmp_path} cannot be read by user {os.getuid()} (Is a directory)"
    ]
