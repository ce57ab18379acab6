"""What the composition root does apart from composing."""

import gc

from sitelatch.serve import spare_collections


def test_serving_excludes_existing_objects_from_collections_and_collects_less_often() -> None:
    before = gc.get_threshold()
    try:
        spare_collections()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] > before[0]
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
