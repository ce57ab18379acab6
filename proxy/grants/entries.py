"""What is held of the scope table's answers, and for how long it may be used."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from proxy.decision.grant import Grant
from proxy.settings import GrantSettings

Value = TypeVar("Value")

_SITES_PER_WEIGHT = 20
"""As many sites in a grant take about as much memory as a grant without any (1 KiB)."""


@dataclass(slots=True)
class Held(Generic[Value]):
    """An answer, and until when it may be used. Times are the clock's seconds."""

    value: Value
    position: int
    """How far the change feed was when this was read."""
    soft_until: float
    """From here on a use of it has it refreshed in the background."""
    fresh_until: float
    """From here on a use of it waits for a lookup, unless the database is down."""
    stale_until: float
    """From here on nothing may use it."""
    refreshing: bool = False


class Lifetimes:
    """Says how long an answer may be used. It is as old as the question: the snapshot was taken after that."""

    def __init__(self, settings: GrantSettings, jitter: Callable[[], float]) -> None:
        self._ttl = settings.ttl_seconds
        self._stale = settings.stale_seconds
        self._jitter = jitter
        self._vouched_at = -math.inf

    def hold(self, value: Value, position: int, asked_at: float) -> Held[Value]:
        """Return the answer with its times. The soft one is spread: what was asked together is refreshed apart."""
        fresh_until = asked_at + self._ttl
        return Held(
            value, position, asked_at + self._ttl * (0.6 + 0.2 * self._jitter()), fresh_until, fresh_until + self._stale
        )

    def vouch(self, at: float) -> None:
        """Note that whatever was held at that moment, and is still, was true then: `renew` makes use of it."""
        self._vouched_at = at

    def renew(self, held: Held[Any]) -> None:
        """Let an answer that was vouched for since it was read be used as if it had been read then.

        Refreshes are spread more widely than after reading: here everything is renewed at one moment.
        """
        fresh_until = self._vouched_at + self._ttl
        if held.fresh_until < fresh_until:
            held.soft_until = self._vouched_at + self._ttl * (0.4 + 0.4 * self._jitter())
            held.fresh_until = fresh_until
            held.stale_until = fresh_until + self._stale


def jitter() -> float:
    """Return a number from 0 to 1, to spread refreshes."""
    return random.random()  # noqa: S311 - spreads load, hides nothing


class HeldGrants(LRUCache[bytes, Held[Grant]]):
    """Grants by key digest, the least used pushed out first. Bounded by weight: many sites weigh more than few."""

    def __init__(self, max_weight: int) -> None:
        super().__init__(
            max_weight, getsizeof=lambda held: min(1 + len(held.value.sites) // _SITES_PER_WEIGHT, max_weight)
        )
        self._digests: dict[str, set[bytes]] = {}

    def digests_of(self, user_id: str) -> frozenset[bytes]:
        """Return the digests under which grants of this API user are held."""
        return frozenset(self._digests.get(user_id, ()))

    def __setitem__(self, digest: bytes, held: Held[Grant]) -> None:
        self.pop(digest, None)
        super().__setitem__(digest, held)
        self._digests.setdefault(held.value.user_id, set()).add(digest)

    def __delitem__(self, digest: bytes) -> None:
        # Everything that leaves leaves here: what is dropped, and what is pushed out.
        user_id = self[digest].value.user_id
        super().__delitem__(digest)
        digests = self._digests[user_id]
        digests.discard(digest)
        if not digests:
            del self._digests[user_id]

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._digests.clear()
