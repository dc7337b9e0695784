"""Reconciliation: what the hub's own ledger says of calls whose answers did not say what they used.

An observer of the fold remembers such calls, the ledger is asked about them now and then, and what it
adds becomes an event of its own: metrics, usage and the call log stay folds over events.
"""

from sidecar.control.reconcile.compose import compose
from sidecar.control.reconcile.reconciler import Reconciler

__all__ = ["Reconciler", "compose"]
