"""How much work something is, in calls and not in seconds: the same on every machine, however busy it is."""

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Count by name the functions that this thread calls, C's too. What one call of C does inside is not seen.

    No garbage is collected meanwhile: when it is, and what is called for that, is another test's doing.
    """
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            counted[frame.f_code.co_name] += 1
        elif event == "c_call":
            counted[argument.__name__] += 1

    before, collecting = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(before)
        if collecting:
            gc.enable()
