"""What was recalled while lookups were in the air: an answer read before a revoke must not land after it."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EVERYTHING = b""
"""The name under which every answer is recalled."""


class Recalls:
    """Remembers recalled names (key digests, API-user ids) for as long as a lookup from before them is in the air."""

    def __init__(self) -> None:
        self._order = 0
        # Ascending, for it is in the order of their begins. Thousands wait when the database goes away.
        self._in_the_air: list[int] = []
        # name → (order, feed position or None), oldest recall first.
        self._recalled: dict[bytes | str, tuple[int, int | None]] = {}

    def begin(self) -> int:
        """Note that a lookup takes off; returns what `end` and `touches` want to hear."""
        self._in_the_air.append(self._order)
        return self._order

    def end(self, began: int) -> None:
        """Note that this lookup has landed or is lost; forget what no other lookup needs to know."""
        del self._in_the_air[bisect_left(self._in_the_air, began)]
        if not self._in_the_air:
            self._recalled.clear()
            return
        oldest = self._in_the_air[0]
        passed = []
        for name, (order, _) in self._recalled.items():
            if order > oldest:
                break
            passed.append(name)
        for name in passed:
            del self._recalled[name]

    @contextmanager
    def watched(self) -> Iterator[int]:
        """Lend what `touches` wants to hear, to somebody who acts on an answer and has to wait in between."""
        began = self.begin()
        try:
            yield began
        finally:
            self.end(began)

    def recall(self, name: bytes | str, position: int | None = None) -> None:
        """Recall answers about `name` whose snapshot is older than the feed's `position` (None: all in the air)."""
        self._order += 1
        if not self._in_the_air:
            return
        _, before = self._recalled.pop(name, (0, 0))
        if position is not None:
            position = None if before is None else max(position, before)
        self._recalled[name] = (self._order, position)

    def touches(self, began: int, names: Iterable[bytes | str], position: int | None) -> bool:
        """Return whether an answer about `names`, read at the feed's `position`, was recalled since it took off."""
        for name in names:
            recalled = self._recalled.get(name)
            if recalled is None:
                continue
            order, since = recalled
            if order > began and (since is None or position is None or position < since):
                return True
        return False
