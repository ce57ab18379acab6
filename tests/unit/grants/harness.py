"""A grant cache over a scope table in memory, for unit tests."""

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from hashlib import sha256

import pytest

from proxy.decision.grant import Grant
from proxy.grants.cache import GrantCache
from proxy.grants.changes import Changes
from proxy.grants.token_bucket import TokenBuckets
from proxy.settings import GrantSettings
from tests.scopes import Clock, MemoryScope

KEY = sha256(b"a key").digest()
OTHER = sha256(b"another key").digest()


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def reusable_until(grants: GrantCache, digest: bytes) -> float:
    """Return the time until which a caller may keep the answer for a key."""
    entry = grants.entry(digest)
    return entry.refresh_at if entry is not None and entry.live else -math.inf


class Harness:
    """Builds grant caches over a scope table in memory, and records their callbacks."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.scope = MemoryScope()
        self.results: Counter[str] = Counter()
        self.lost: list[Changes] = []
        self.opened: list[GrantCache] = []

    def grants(
        self,
        *,
        budget: TokenBuckets | None = None,
        max_waiting_checks: int = 10_000,
        jitter: Callable[[], float] = lambda: 0.5,
        **settings: float,
    ) -> GrantCache:
        grants = GrantCache(
            GrantSettings.model_validate({"lookup_seconds": 30} | settings),
            self.scope,
            on_lookup=lambda result: self.results.update([result]),
            on_lost=self.lost.append,
            budget=budget,
            max_waiting_checks=max_waiting_checks,
            clock=self.clock,
            jitter=jitter,
        )
        self.opened.append(grants)
        return grants


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    opened = Harness()
    yield opened
    opened.scope.resume()
    for grants in opened.opened:
        await grants.close()


def known(answer: object) -> Grant:
    assert isinstance(answer, Grant)
    return answer
