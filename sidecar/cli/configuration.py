"""The settings in force, and whether all that they name can be used: profile, store address, certificates."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sidecar.cli.config_file import find
from sidecar.control.anomaly.detectors.geo import open_geo
from sidecar.control.anomaly.notifications.outbox import secret_bytes
from sidecar.hubs.load import load_profile
from sidecar.settings import Settings, SettingsError, load
from sidecar.settings.check import authz_faults
from sidecar.settings.declaration import Tls
from sidecar.store.address import resolve


def read(option: str | None, environment: Mapping[str, str]) -> Settings:
    """The settings in force; raises SettingsError with every fault of the file, and of the files that it names."""
    return load(find(option, environment), environment, _faults)


def reader(option: str | None, environment: Mapping[str, str]) -> Callable[[], Settings]:
    """`read` for whoever reads again and again. A file that was there once has to be: a reload must not go on with the defaults."""
    file: Path | None = None

    def again() -> Settings:
        nonlocal file
        if file is None or os.path.lexists(file):
            file = find(option, environment)
        return load(file, environment, _faults)

    return again


def _faults(settings: Settings) -> Iterator[str]:
    yield from authz_faults(settings)
    try:
        load_profile(settings.hub.profile)
    except SettingsError as error:
        yield from error.faults
    try:
        address = resolve(settings.store, Path(settings.data_dir))
    except ValueError as error:
        yield f"store.url: {str(error).removeprefix('store.url ')}"
    else:
        yield from _store_tls_faults(**address.tls_files)
    for name, tls in (("proxy.tls", settings.proxy.tls), ("admin.tls", settings.admin.tls)):
        if tls is not None:
            yield from _tls_faults(f"{name}:", f"{name}.{{}}:", tls)
    yield from _ca_faults("hub.ca_file:", settings.hub.ca_file)
    try:
        # What the control process could not begin with would otherwise end it again and again.
        open_geo(settings.anomaly.geo_file)
    except (OSError, ValueError) as error:
        yield f"anomaly.geo_file: {settings.anomaly.geo_file} cannot be used ({_reason(error).removeprefix('anomaly.geo_file: ')})"
    try:
        secret_bytes(settings.notifications.webhook_secret.reveal())
    except ValueError as error:
        yield str(error)


def _ca_faults(name: str, file: str) -> Iterator[str]:
    try:
        if file:
            ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        yield f"{name} {file} does not hold certificates in PEM form ({_reason(error)})"


def _store_tls_faults(ca_file: str = "", certificate_file: str = "", key_file: str = "") -> Iterator[str]:
    """Without these a store that is there looks like one that cannot be reached."""
    yield from _ca_faults("store.url: ca_file", ca_file)
    if certificate_file:
        # The key may be in the file of the certificate.
        yield from _tls_faults("store.url:", "store.url: {}", Tls(certificate_file=certificate_file, key_file=key_file or certificate_file))
    elif key_file:
        yield "store.url: has ?key_file= without ?certificate_file=; add that"


def _tls_faults(both: str, one: str, tls: Tls) -> Iterator[str]:
    """`both` begins what is said of the two files, `one` that of the setting in its braces."""
    for setting, file in (("certificate_file", tls.certificate_file), ("key_file", tls.key_file)):
        try:
            Path(file).open("rb").close()
        except (OSError, ValueError) as error:
            yield f"{one.format(setting)} {file} cannot be read ({_reason(error)})"
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate_file, tls.key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:
        advice = "they must be in PEM form and belong together, the key without passphrase"
        yield f"{both} certificate and key cannot be used ({_reason(error)}); {advice}"


def _no_passphrase() -> str:
    # Without this, OpenSSL would ask for it on the terminal of whoever starts the sidecar.
    raise ValueError("the key has a passphrase")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not PEM"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
