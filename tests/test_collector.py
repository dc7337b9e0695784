from __future__ import annotations

import gc

from sidecar import collector


def test_what_is_here_now_is_left_out_of_every_later_search() -> None:
    before = gc.get_threshold()
    try:
        collector.settle()
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() > 0
        collector.settle(collector.YOUNG)
        assert gc.get_threshold() == (collector.YOUNG, *before[1:])
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
