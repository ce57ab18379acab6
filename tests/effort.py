"""Measures work in function calls instead of seconds, so that results do not depend on the machine or its load."""

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Count the function calls of this thread by name, including calls of C functions, but not calls inside C.

    Garbage collection is off during the count, because its time and its calls depend on earlier tests.
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
