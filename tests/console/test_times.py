"""Relative times that the page keeps true read as those that the server wrote, whatever the clock beside the browser says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sidecar.control.console import text
from tests.console.conftest import Console
from tests.support.browser import page_of

ELSEWHERE = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""What the clock of the browser's machine says."""
SECONDS = (0, 30, 59.6, 90, 150, 5400, 86378, 86400 * 33, 86400 * 59.9, 86400 * 91.4, 86400 * 200, 86400 * 364, 86400 * 800)
FILL = """(moments) => document.getElementById('main').replaceChildren(...moments.map((moment) => {
    const time = document.createElement('time');
    time.dateTime = moment;
    return time;
}))"""


def test_the_page_counts_as_the_server_does(console: Console) -> None:
    with page_of(console.browser, console.base, console.token) as page:
        page.clock.set_fixed_time(ELSEWHERE)
        page.add_init_script("window.setInterval = (tick) => { window.tick = tick; }")
        page.goto("/settings/preferences")
        now = datetime.fromisoformat(str(page.locator("html").get_attribute("data-now")))
        assert abs(datetime.now(UTC) - now) < timedelta(hours=1)
        moments = [now + timedelta(seconds=sign * seconds) for seconds in SECONDS for sign in (1, -1)]
        page.evaluate(FILL, [moment.isoformat() for moment in moments])
        page.evaluate("tick()")
        found = page.locator("main time").all_text_contents()
    assert found == [text.relative(moment, now) for moment in moments]
