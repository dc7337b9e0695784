"""Certificates that sign themselves, made by the real openssl, and clients that nobody should speak to."""

from __future__ import annotations

import ssl
import subprocess
import warnings
from pathlib import Path

from tests.support.tools import require

LOCAL = ("DNS:localhost", "IP:127.0.0.1")
"""The names of this machine."""


def self_signed(directory: Path, *names: str) -> tuple[Path, Path]:
    """A certificate and its key, good for two days and, if any are given, for `names` as openssl words them (`DNS:…`, `IP:…`)."""
    openssl = require("openssl", install="apt-get install openssl")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    algorithm = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extensions = ["-addext", f"subjectAltName={','.join(names)}"] if names else []
    subprocess.run([openssl, "req", *algorithm, *extensions, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


def outdated() -> ssl.SSLContext:
    """A client that speaks TLS 1.0 and 1.1 only, to whomever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context
