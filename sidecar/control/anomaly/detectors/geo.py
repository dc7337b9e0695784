"""The optional MaxMind file: it needs the extra `geo`, which most installations leave out."""

from __future__ import annotations

import importlib.util
from importlib import import_module

from sidecar.control.anomaly.detectors.networks import GeoReader


def open_geo(path: str) -> GeoReader | None:
    """A reader of the file; None for an empty path. Raises OSError, and ValueError without the extra or for another kind of file."""
    if not path:
        return None
    if importlib.util.find_spec("maxminddb") is None:
        raise ValueError("anomaly.geo_file: install the extra first, pip install 'hub-auth-sidecar[geo]'")
    maxminddb = import_module("maxminddb")
    try:
        reader: GeoReader = maxminddb.open_database(path)
    except maxminddb.InvalidDatabaseError:
        raise ValueError(f"anomaly.geo_file: {path} is not a MaxMind file") from None
    return reader
