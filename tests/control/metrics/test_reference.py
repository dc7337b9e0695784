from __future__ import annotations

import msgspec

from sidecar.control.metrics.catalogue import CATALOGUE
from sidecar.control.metrics.reference import BEGIN_ANEW, OF_WORKERS, markdown
from sidecar.events.record import Reconciled, Tokens
from tests.control.metrics.test_scrape import NOW, Page, Signals
from tests.control.support.events import denied, key_id, request, state, sums_of

COUNTING = {family for family in CATALOGUE if family.kind != "gauge"}


class _Anew(Signals):
    """What is raised is counted from the start of the process (`anomaly.unsaved`), and nothing has been since."""

    def raised(self) -> dict[tuple[str, str], int]:
        return {}


def _restarted() -> Page:
    """A page of all that the store gives back, after traffic that every stored count had something of."""
    call = request(key_id(1), time=NOW, tokens=Tokens(10, 20, 5, 1), shadow="rate_limit_exceeded")
    events = (call, request(key_id(1), time=NOW, usage_source="none"), denied(time=NOW), Reconciled(NOW, call, Tokens(7)))
    page = Page(signals=_Anew())
    page.key(1)
    for fields in page.counter.delta(sums_of(*events, state(0, time=NOW, revocation_lags=[0.003]))).values():
        page.counts.restore({name.encode(): msgspec.msgpack.encode(nested) for name, nested in fields.items()})
    return page


def test_every_counter_goes_on_after_a_restart_or_is_said_not_to() -> None:
    lines = [line for line in _restarted().text().splitlines() if not line.startswith("#") and not line.endswith((" 0", " 0.0"))]
    restored = {family for family in COUNTING if any(line.startswith(family.name) for line in lines)}
    assert COUNTING - {*OF_WORKERS} - restored == {*BEGIN_ANEW}


def test_the_page_names_every_counter_that_begins_anew() -> None:
    for families, begins in ((BEGIN_ANEW, "begins at 0 with it"), (OF_WORKERS, "begins at 0 with a reload")):
        said = " ".join(markdown().split()).partition(begins)[2].partition(".")[0]
        assert all(f"`{family.name}`" in said for family in families)
