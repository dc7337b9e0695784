"""Writes the software bill of materials (CycloneDX 1.6, JSON) of a release from the lock: `make sbom`.

Everything in it comes from what is pinned and installed, so that the same release always has the same document.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from sidecar import __version__

LOCK = Path(__file__).with_name("runtime.txt")
NAME = "hub-auth-sidecar"
LICENCE = "Apache-2.0"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]*?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """The pinned packages of `lock`, each with the hashes of all files that may be installed for it."""
    found: list[dict[str, Any]] = []
    digests: list[dict[str, str]] = []
    for line in lock.splitlines():
        if pin := _PIN.match(line):
            name, version, marker = pin.groups()
            reference = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
            digests = []
            # Not `hashes`: those are of one content, and of several wheels none is the only one.
            distribution = {"type": "distribution", "url": reference, "hashes": digests}
            component = {"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference}
            found.append(component | _licence(name) | {"externalReferences": [distribution]})
            if marker:
                found[-1]["properties"] = [{"name": "python:environment-marker", "value": marker.strip()}]
        elif digest := _HASH.search(line):
            digests.append({"alg": "SHA-256", "content": digest[1]})
    return found


def _licence(name: str) -> dict[str, Any]:
    """What the installed package says of its licence, as an SPDX expression where it gives one."""
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return {}
    if expression := told.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    classifiers = [one.rpartition(" :: ")[2] for one in told.get_all("Classifier") or [] if one.startswith("License ::")]
    return {"licenses": [{"license": {"name": one}} for one in classifiers]} if classifiers else {}


def document(lock: str, version: str) -> dict[str, Any]:
    """The bill of materials of release `version`."""
    root = f"pkg:pypi/{NAME}@{version}"
    parts = components(lock)
    described = {"type": "application", "bom-ref": root, "name": NAME, "version": version, "purl": root}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, root + lock)}",
        "version": 1,
        "metadata": {"component": described | {"licenses": [{"license": {"id": LICENCE}}]}},
        "components": parts,
        "dependencies": [{"ref": root, "dependsOn": [part["bom-ref"] for part in parts]}, *({"ref": part["bom-ref"]} for part in parts)],
    }


def main(directory: str) -> int:
    """Write the document into `directory`."""
    made = Path(directory) / f"{NAME}-{__version__}.cdx.json"
    made.write_text(json.dumps(document(LOCK.read_text(encoding="utf-8"), __version__), indent=2) + "\n", encoding="utf-8")
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
