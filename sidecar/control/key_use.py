"""Notes for /metrics when and from which networks each key is used."""

from __future__ import annotations

from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.networks import Networks
from sidecar.control.sums import Sums


class KeyUse:
    """An observer of the fold."""

    def __init__(self, keys: LabelledKeys, networks: Networks) -> None:
        self._keys = keys
        self._networks = networks

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        """Take the rows in."""
        del spool_id, records
        for row in sums.rows:
            key_id = row.traits.key_id
            if key_id:
                self._keys.used(key_id, row.last)
                counted, second = key_id in self._keys.records, int(row.last)
                for client, _ in row.callers:
                    self._networks.seen(key_id, client, second, counted=counted)

    def retire(self, spool_id: str) -> None:
        """Nothing is kept for a spool."""
