"""Where the configuration file is, and whether all that it names can be used: profile, store address, certificates."""

from __future__ import annotations

import argparse
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.hubs.load import load_profile
from sidecar.settings import Settings, SettingsError, load
from sidecar.settings.declaration import Tls
from sidecar.store.address import resolve

VARIABLE = "SIDECAR_CONFIG"
PLACES = (Path("sidecar.yaml"), Path("/etc/sidecar/sidecar.yaml"))
"""Looked at in this order when neither `-c` nor the variable names a file."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `-c FILE`."""
    places = ", ".join(f"{place}" for place in PLACES)
    parser.add_argument("-c", "--config", metavar="FILE", help=f"configuration file (default: ${VARIABLE}, else the first of {places})")


def find(option: str | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read; None when there is none and the defaults hold."""
    named = option or environment.get(VARIABLE)
    return Path(named) if named else next((place for place in PLACES if place.is_file()), None)


def read(option: str | None, environment: Mapping[str, str]) -> Settings:
    """The settings in force; raises SettingsError with every fault of the file, and of the files that it names."""
    settings = load(find(option, environment), environment)
    faults = list(_faults(settings))
    if faults:
        raise SettingsError(faults)
    return settings


def _faults(settings: Settings) -> Iterator[str]:
    try:
        load_profile(settings.hub.profile)
    except SettingsError as error:
        yield from error.faults
    try:
        resolve(settings.store, Path(settings.data_dir))
    except ValueError as error:
        yield f"store.url: {str(error).removeprefix('store.url ')}"
    for name, tls in (("proxy.tls", settings.proxy.tls), ("admin.tls", settings.admin.tls)):
        if tls is not None:
            yield from _tls_faults(name, tls)
    if settings.hub.ca_file:
        try:
            ssl.create_default_context(cafile=settings.hub.ca_file)
        except OSError as error:
            yield f"hub.ca_file: {settings.hub.ca_file} does not hold certificates in PEM form ({_reason(error)})"


def _tls_faults(name: str, tls: Tls) -> Iterator[str]:
    for setting, file in (("certificate_file", tls.certificate_file), ("key_file", tls.key_file)):
        try:
            Path(file).open("rb").close()
        except OSError as error:
            yield f"{name}.{setting}: {file} cannot be read ({_reason(error)})"
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate_file, tls.key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:
        advice = "they must be in PEM form and belong together, the key without passphrase"
        yield f"{name}: certificate and key cannot be used ({_reason(error)}); {advice}"


def _no_passphrase() -> str:
    # Without this, OpenSSL would ask for it on the terminal of whoever starts the sidecar.
    raise ValueError("the key has a passphrase")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not PEM"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
