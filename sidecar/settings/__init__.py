"""Settings: declared once in `declaration`, read by `load`, documented by `reference`."""

from sidecar.settings.declaration import Settings
from sidecar.settings.load import SettingsError, load

__all__ = ["Settings", "SettingsError", "load"]
