"""Notes for /metrics when and from which networks each key is used."""

from __future__ import annotations

from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.networks import Networks
from sidecar.control.totals.sums import Sums


class KeyUse:
    """An observer of the fold."""

    def __init__(self, keys: LabelledKeys, networks: Networks) -> None:
        self._keys = keys
        self._networks = networks

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        """Take the rows in."""
        del spool_id, records
        labelled = self._keys.records
        for row in sums.rows:
            key_id = row.key_id
            if key_id:
                counted, second = key_id in labelled, int(row.last)
                if counted:
                    self._keys.used(key_id, row.last)
                caller = row.callers
                while caller is not None:
                    self._networks.seen(key_id, caller.client, second, counted=counted)
                    caller = caller.after

    def retire(self, spool_id: str) -> None:
        """Nothing is kept for a spool."""
