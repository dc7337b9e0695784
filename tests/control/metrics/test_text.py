from __future__ import annotations

import pytest

from sidecar.control.metrics.text import wants_openmetrics

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("APPLICATION/OpenMetrics-Text; Q=0.5 , text/plain;q=0.4", True),
        ("text/plain,application/openmetrics-text", True),
        ("application/openmetrics-text;q=0,text/plain", False),
        ("application/openmetrics-text;q=0", False),
        ("text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.1", False),
        ("application/openmetrics-text;q=0.4,text/*", False),
        ("application/openmetrics-text;q=0.4,*/*", False),
        ("application/openmetrics-text;q=0.4,*/*,text/plain;q=0.3", True),
        ("application/openmetrics-text;q=much", True),
        ("application/openmetrics-text;q=nan;,;", True),
    ],
)
def test_openmetrics_is_for_those_who_do_not_want_text_more(accept: str, wanted: bool) -> None:
    assert wants_openmetrics(accept) is wanted
