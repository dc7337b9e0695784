"""What a release is made of: few packages, listed in a bill of materials, and none of the usual mistakes in our own part."""

from __future__ import annotations

import json
import re
import subprocess

from cyclonedx.model.bom import Bom

from requirements import sbom
from sidecar import __version__
from tests.support.source import ROOT
from tests.support.tools import require

PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def lock() -> str:
    return (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")


def test_dependencies_are_few() -> None:
    assert len(PIN.findall(lock())) < 30, "each is somebody else's release process: a new one needs a decision record"


def test_the_bill_of_materials_names_every_pinned_package_and_its_files() -> None:
    made = sbom.document(lock(), __version__)
    assert made == sbom.document(lock(), __version__), "the same release has the same document"
    parts = {part["name"]: part for part in made["components"]}
    assert set(parts) == set(PIN.findall(lock()))
    assert all(part["externalReferences"][0]["hashes"] for part in parts.values())
    assert sum(len(part["externalReferences"][0]["hashes"]) for part in parts.values()) == lock().count("--hash=sha256:")
    assert set(made["dependencies"][0]["dependsOn"]) == {part["bom-ref"] for part in parts.values()}
    read = Bom.from_json(data=json.loads(json.dumps(made)))  # type: ignore[attr-defined]
    assert read.metadata.component.version == __version__ and len(read.components) == len(parts)
    assert read.validate()


def test_no_usual_mistake_of_security() -> None:
    bandit = require("bandit", install="pip install --require-hashes -r requirements/dev.txt")
    command = [bandit, "--quiet", "--recursive", "--configfile", "pyproject.toml", "sidecar"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_service_of_the_manual_gets_what_is_pinned() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    ways = re.findall(r"^(/opt/\S+)/bin/pip install (.*)\n\1/bin/pip install (.*)\n", text, re.MULTILINE)
    assert len(ways) == text.count("-py3-none-any.whl") == 2
    for _, pinned, wheel in ways:
        assert pinned == "--require-hashes -r requirements/runtime.txt"
        assert wheel.startswith("--no-deps ")
