"""Certificates that sign themselves, made by the real openssl."""

from __future__ import annotations

import subprocess
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
