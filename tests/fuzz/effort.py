"""How hard the fuzz targets try: little in every test run, much by `make fuzz` (SIDECAR_FUZZ_EXAMPLES=100000)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("SIDECAR_FUZZ_EXAMPLES", "200"))

fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
