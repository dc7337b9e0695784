"""Static files: named by their content, kept for ever, small, and free of what the page's policy forbids."""

from __future__ import annotations

from importlib.resources import files

import pytest

from sidecar.control.console.assets import Assets
from tests.control.console.conftest import Console

SCRIPTS = [file for file in files("sidecar.control.console").joinpath("static").iterdir() if file.name.endswith(".js")]
TEMPLATES = list(files("sidecar.control.console").joinpath("templates").iterdir())


async def test_files_may_be_kept_for_ever(console: Console) -> None:
    assets = Assets()
    browser = console.browser()
    for name, media in (("console.css", "text/css"), ("chart.js", "text/javascript"), ("mark.svg", "image/svg+xml")):
        page = await browser.get(assets.url(name))
        assert page.status == 200 and page.headers["Content-Type"].startswith(media)
        assert "immutable" in page.headers["Cache-Control"] and page.headers["X-Content-Type-Options"] == "nosniff"
    for wrong in ("/static/console.css", "/static/chart.000000000000.js", "/static/..%2fapp.py", "/static/"):
        assert (await browser.get(wrong)).status == 404


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("", None), ("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("GZIP", "gzip"), ("gzip;q=0", None), ("br, gzip; q=0.0", None)],
)
async def test_files_are_packed_only_for_whom_takes_them_so(console: Console, accepted: str, coding: str | None) -> None:
    page = await console.browser().get(Assets().url("console.css"), **{"Accept-Encoding": accepted})
    assert page.status == 200 and page.headers.get("Content-Encoding") == coding


def test_scripts_are_small() -> None:
    assert sum(len(file.read_bytes()) for file in SCRIPTS) < 15_000


def test_nothing_is_written_into_a_page_but_text() -> None:
    for file in SCRIPTS:
        text = file.read_text()
        assert not any(word in text for word in ("innerHTML =", "outerHTML =", "insertAdjacentHTML", "document.write", "eval(", ".style."))
    for file in TEMPLATES:
        text = file.read_text()
        assert not any(word in text for word in ("|safe", "| safe", " style=", "<style", "autoescape false")), file.name
        assert "<script>" not in text and " onclick" not in text
