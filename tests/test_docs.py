"""What the documents say is so: links lead somewhere, commands exist, generated pages are current."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from sidecar import refusals
from sidecar.cli import completion
from sidecar.cli.commands import build_parser
from sidecar.refusals import KEY_STORE_UNAVAILABLE, OVERLOADED, SHUTTING_DOWN, TABLE
from sidecar.settings import load
from tests.support.documents import anchors, blocks, documents, links
from tests.support.source import ROOT
from tests.support.tools import unable

DOCUMENTS = documents()
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".txt",
    ".in",
    ".lua",
    ".sh",
    ".js",
    ".css",
    ".html",
    ".json",
    ".service",
    ".conf",
    "",
}
URL = re.compile(r"\b(?:https?|ftp|git|ssh)://(?:[^/\s@]*@)?([A-Za-z0-9.-]+)")
RESERVED = re.compile(r"^[^.]*$|^[\d.]+$|^(?:.*\.)?(?:example|test|invalid|localhost)$|^(?:.*\.)?example\.(?:com|net|org)$")
"""Hosts that lead nowhere: single labels, addresses, names that RFC 2606 and RFC 6761 set aside."""
KNOWN_HOSTS = {
    "www.apache.org",
    "keepachangelog.com",
    "semver.org",
    "json-schema.org",
    "www.w3.org",
    "spec.openapis.org",
    "prometheus.io",
    "host.docker.internal",
}
"""What may be pointed at. Registries are not among them: where packages come from is for each machine to say."""
_STANDARD_PLACES = {"/", "/etc", "/home", "/opt", "/root", "/srv", "/tmp", "/usr", "/usr/local", "/var", "/var/lib"}
MAKERS = {str(ROOT.parent), sys.prefix, str(Path.home())} - _STANDARD_PLACES
"""Where this run happens to take place; a file that names it would lead nobody else anywhere."""


def _sources() -> Iterator[Path]:
    """Every text file of the project that is not ignored; git is asked, since it knows."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:
        unable("this is no git checkout, so nobody knows which files are the project's; clone it")
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.name != "package-lock.json" and path.suffix in TEXT_SUFFIXES and path.is_file():
            yield path


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8", errors="replace") for path in _sources()}


def test_no_file_names_the_machine_that_it_was_made_on(sources: dict[str, str]) -> None:
    patterns = [re.compile(rf"(?<![\w.]){re.escape(maker)}/") for maker in MAKERS]
    assert [name for name, text in sources.items() if any(pattern.search(text) for pattern in patterns)] == []


def test_only_known_hosts_are_pointed_at(sources: dict[str, str]) -> None:
    found = {(name, host) for name, text in sources.items() for host in URL.findall(text)}
    assert sorted((name, host) for name, host in found if host not in KNOWN_HOSTS and not RESERVED.match(host.strip("."))) == []


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert name not in generate.stale(), "run `make docs`"


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    for target in links(file):
        if "://" not in target and not target.startswith("#"):
            assert (file.parent / target.partition("#")[0]).exists(), f"{file.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_into_a_document_lead_to_a_heading(file: Path) -> None:
    for target in links(file):
        name, _, anchor = target.partition("#")
        led_to = file.parent / name if name else file
        if anchor and led_to.suffix == ".md" and "://" not in target:
            assert anchor in anchors(led_to), f"{file.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_named_tests_exist(file: Path) -> None:
    named = re.findall(r"`(tests/[\w/.-]+)", file.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def _commands() -> Iterator[tuple[str, str]]:
    for file in DOCUMENTS:
        for block in blocks(file):
            if block.language == "sh":
                for line in block.text.replace("\\\n", " ").splitlines():
                    yield str(file.relative_to(ROOT)), line


COMMANDS = list(_commands())


@pytest.mark.parametrize(("file", "line"), [(file, line) for file, line in COMMANDS if re.match(r"(\w+=\S+ )*sidecar ", line)])
def test_commands_are_understood(file: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    words = words[words.index("sidecar") + 1 :]
    end = next((place for place, word in enumerate(words) if word in ("|", "<", ">", ">>", "&&", ";")), len(words))
    build_parser([words[0]] if not words[0].startswith("-") else []).parse_args(words[:end])


def test_every_document_of_a_command_is_described() -> None:
    described = re.findall(r"^\| `sidecar ([\w -]+)` \|", (ROOT / "docs" / "scripting.md").read_text(encoding="utf-8"), re.MULTILINE)
    printing = [" ".join(command.words) for command in completion.tree() if "--json" in dict(command.options)]
    assert sorted(described) == sorted(printing)


@pytest.mark.parametrize(("file", "line"), [(file, line) for file, line in COMMANDS if re.match(r"(\w+=\S+ )*make\b", line)])
def test_make_targets_exist(file: str, line: str) -> None:
    targets = [word for word in shlex.split(line, comments=True) if "=" not in word][1:]
    known = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) <= set(known)


def test_the_example_configuration_is_the_default_one() -> None:
    assert load(ROOT / "config" / "sidecar.yaml", {"HUB_ACCESS_KEY": ""}) == load(None, {})


def test_developers_are_told_which_refused_calls_may_have_been_made() -> None:
    text = (ROOT / "docs" / "developers.md").read_text(encoding="utf-8")
    advice = {
        code: done
        for codes, done in re.findall(r"^\| [\d, ]+ \| (`[^|]+) \| (.+) \|$", text, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    made = {code for code, done in advice.items() if "The call may have been made there" in done}
    # A worker that ends does not wait for the hub either.
    assert made == {row.code for row in TABLE if row.fault == "hub"} | {SHUTTING_DOWN.code}
    unmade = {code for code, done in advice.items() if "nothing was sent to the hub" in done}
    assert unmade == {KEY_STORE_UNAVAILABLE.code, OVERLOADED.code}


def test_the_ways_through_the_code_lead_over_files_that_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## Ways through the code\n")[2].partition("\n## ")[0]
    ways = [re.findall(r"`([a-z_/.]+(?:\.py|\.lua|/))`", row) for row in section.splitlines() if row.startswith("| a")]
    assert len(ways) >= 9 and all(len(way) >= 3 for way in ways)
    for way in ways:
        folder = ""
        for name in way:
            whole = name.partition("/")[0] in {path.name for path in (ROOT / "sidecar").iterdir()}
            beside = ROOT / "sidecar" / folder / name
            assert (ROOT / "sidecar" / name).exists() if whole else beside.exists() or name == "process.py", f"{name} of {way}"
            folder = name.rpartition("/")[0] if whole and "/" in name else folder


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, f"add {page.name} to docs/README.md"


def test_every_decision_is_in_its_index_and_has_the_form() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(folder.glob("[0-9]*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert f"]({record.name})" in index
        assert text.startswith(f"# {record.name[:4]}. ")
        for heading in ("Status: ", "Date: ", "## Context", "## Decision", "## Consequences"):
            assert f"\n{heading}" in text, f"{record.name} lacks {heading}"


@pytest.mark.parametrize("file", ["CONTRIBUTING.md", "Makefile"])
def test_the_example_of_a_narrow_run_finds_tests(file: str) -> None:
    (words,) = re.findall(r"ARGS='(tests/[^']*)'", (ROOT / file).read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "pytest", "--collect-only", *shlex.split(words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


STAGES = {
    "accept": ("worker/accept.py", "worker/client/*.py"),
    "identify": ("worker/identify.py", "worker/enforce.py"),
    "authorize": ("worker/authorize.py", "worker/inspection.py", "hubs/*.py"),
    "limit": ("limits/*.py",),
    "rewrite": ("worker/rewrite.py",),
    "forward": ("worker/forward.py", "worker/open_requests.py", "worker/upstream/*.py"),
    "meter": ("worker/meter.py",),
}


def test_the_architecture_names_every_status_with_which_a_stage_refuses() -> None:
    status_of = {name: row.status for name, row in vars(refusals).items() if isinstance(row, refusals.Refusal)}
    rows = re.findall(r"^\| (\w+) \| [^|]* \| ([\d, ]*)\|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    told = {stage: {int(text) for text in statuses.split(",") if text.strip()} for stage, statuses in rows}
    for stage, patterns in STAGES.items():
        used = {
            name
            for pattern in patterns
            for path in (ROOT / "sidecar").glob(pattern)
            for name in re.findall(r"\b[A-Z][A-Z_]+\b", path.read_text())
        }
        assert told[stage] == {status_of[name] for name in used & status_of.keys()}, stage
