"""Tests that take minutes because real time must pass. `make long-test` runs them; `make test` does not look at them."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("SIDECAR_TEST_LONG") else ["test_*.py"]
