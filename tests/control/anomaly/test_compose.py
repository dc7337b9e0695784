from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar.control.anomaly.compose import SECRET_FILE
from sidecar.settings.declaration import Notifications
from sidecar.settings.values import Secret
from tests.control.anomaly.conftest import Bench


async def test_a_signing_secret_is_made_once_and_private(bench: Bench) -> None:
    path = bench.data_dir / SECRET_FILE
    assert not path.exists()
    bench.settings = replace(bench.settings, notifications=Notifications())
    bench.start()
    made = path.read_text()
    assert made.startswith("whsec_")
    assert path.stat().st_mode & 0o777 == 0o600
    bench.start()
    assert path.read_text() == made


@pytest.mark.parametrize("left", ["", "\n"])
def test_a_signing_secret_that_was_never_written_is_made_anew(bench: Bench, left: str) -> None:
    path = bench.data_dir / SECRET_FILE
    path.write_text(left)
    bench.settings = replace(bench.settings, notifications=Notifications())
    bench.start()
    made = path.read_text()
    assert len(made) > 40 and path.stat().st_mode & 0o777 == 0o600
    bench.start()
    assert path.read_text() == made


def test_a_secret_of_no_bytes_signs_nothing(bench: Bench) -> None:
    bench.settings = replace(bench.settings, notifications=Notifications(webhook_secret=Secret("whsec_")))
    with pytest.raises(ValueError, match="nothing follows whsec_"):
        bench.start()
