from __future__ import annotations

from msgspec.structs import replace

from sidecar.control.anomaly.compose import SECRET_FILE
from sidecar.settings.declaration import Notifications
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
