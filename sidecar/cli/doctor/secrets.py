"""Who else on this machine could read the secrets that the configuration names or holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.cli.doctor.check import Check, ok, warn
from sidecar.settings import Settings
from sidecar.settings.secret_forms import secret_files


def checks(settings: Settings, file: Path | None, environment: Mapping[str, str]) -> Iterator[Check]:
    """A finding for each file that others can read; one that all is well when there is none. The pepper is looked at elsewhere."""
    places = {
        **secret_files(file, environment),
        "keys.previous_pepper_file": Path(settings.keys.previous_pepper_file),
        **{
            f"{name}.tls.key_file": Path(tls.key_file)
            for name, tls in (("proxy", settings.proxy.tls), ("admin", settings.admin.tls))
            if tls
        },
    }
    private = 0
    for setting, place in places.items():
        # Not Path.is_file, which raises where this user may not look.
        if not os.path.isfile(place):
            continue
        found = place.stat()
        if not found.st_size:
            yield warn(setting, f"{place} is empty, as if there were no such setting", "put the secret there, or take the setting out")
        if not found.st_mode & stat.S_IRWXO:
            private += 1
        elif place == file:
            advice = f"give it as {setting}_file with a private file, or run: chmod 600 {place}"
            yield warn(setting, f"stands in {place}, which all users can read", advice)
        else:
            yield warn(setting, f"{place} can be read by all users", f"run: chmod 600 {place}")
    if private:
        yield ok("secrets", f"files that other users cannot read: {private}")
