"""The slow lane: finds out which keys exist, in batches, for clients that are over their budget of unknown keys."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

import structlog

from proxy.grants.answers import UNKNOWN, NoAnswer, Unknown
from proxy.grants.circuit_breaker import CircuitBreaker
from proxy.grants.connections import DATABASE_FAILURES, describe
from proxy.grants.invalidations import EVERYTHING, Invalidations
from proxy.grants.scope_table import ScopeTable

_BATCH = 500
"""How many keys one query checks."""

_PAUSE_SECONDS = 0.01
"""Pause between two queries, so that more keys share each one. So a flood causes at most a hundred queries a second."""

MAX_WAITING = 10_000
"""How many keys of one client network may wait. Each takes about 1 KB, so a flood of keys cannot fill the memory."""

_log = structlog.get_logger()


class Exists(Enum):
    """The type of EXISTS."""

    EXISTS = "exists"


EXISTS: Final = Exists.EXISTS
"""The key exists, so it can be looked up."""

Check = Exists | Unknown | NoAnswer
"""Whether a key exists, or why that could not be found out."""


class _Waiting(NamedTuple):
    """A key that waits to be checked."""

    digest: bytes
    outcome: asyncio.Future[Check]
    since: float
    """When it was queued, in the clock's seconds."""


class KeyChecks:
    """Runs one query at a time, over one connection. Keys that arrive while it runs share the next query.

    So a flood of unknown keys costs few queries, and a valid key behind the same address waits only for the query that
    runs and its own. Networks take turns. A key waits in the queue for at most `seconds`, and a query takes at most as
    long again. A key that does not exist is passed to `store`, unless it was created in the meantime.
    """

    def __init__(
        self,
        scope: ScopeTable,
        breaker: CircuitBreaker,
        invalidations: Invalidations,
        store: Callable[[bytes, None, float], object],
        *,
        max_waiting: int,
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._scope = scope
        self._breaker = breaker
        self._invalidations = invalidations
        self._store = store
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._clock = clock
        # The waiting keys of each network. The network that is next comes first.
        self._waiting: OrderedDict[str, OrderedDict[bytes, _Waiting]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no key is being checked."""
        return self._task is None

    async def check(self, digest: bytes, network: str) -> Check:
        """Return whether a key exists. OVER_BUDGET means that too many keys of this client network are waiting."""
        if self._breaker.is_open:  # a check does not probe the database, because a probe must not wait
            return NoAnswer.UNAVAILABLE
        keys = self._waiting.get(network) or OrderedDict()
        waiting = keys.get(digest)
        if waiting is None:
            if len(keys) >= self._max_waiting:
                return NoAnswer.OVER_BUDGET
            loop = asyncio.get_running_loop()
            waiting = keys[digest] = _Waiting(digest, loop.create_future(), self._clock())
            self._waiting[network] = keys
            if self._task is None:
                self._task = loop.create_task(self._run())
        # The shield keeps a caller that is canceled from canceling the check for the others.
        return await asyncio.shield(waiting.outcome)

    async def close(self) -> None:
        """Cancel all checks."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=self._seconds)

    async def _run(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                if not await self._check(batch):
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._task = None
            for keys in self._waiting.values():
                batch += keys.values()
            self._waiting.clear()
            for key in batch:
                if not key.outcome.done():
                    key.outcome.set_result(NoAnswer.UNAVAILABLE)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        latest = self._clock() - self._seconds
        while self._waiting and len(batch) < _BATCH:
            network, keys = self._waiting.popitem(last=False)
            _, key = keys.popitem(last=False)
            if keys:
                self._waiting[network] = keys
            if key.since < latest:
                key.outcome.set_result(NoAnswer.OVER_BUDGET)
            else:
                batch.append(key)
        return batch

    async def _check(self, batch: list[_Waiting]) -> bool:
        """Set the outcome of each key. Return False if the database does not answer."""
        while batch:
            if self._breaker.is_open:
                return False
            token = self._invalidations.begin()
            try:
                read_at = self._clock()
                async with asyncio.timeout(self._seconds):
                    existing = await self._scope.find_keys({key.digest for key in batch})
                invalidated = []
                for key in batch:
                    if key.digest in existing:
                        key.outcome.set_result(EXISTS)
                    elif self._invalidations.affects(token, (key.digest, EVERYTHING), None):
                        invalidated.append(key)  # it may have been created since, so check it again
                    else:
                        self._store(key.digest, None, read_at)
                        key.outcome.set_result(UNKNOWN)
                batch = invalidated
            except DATABASE_FAILURES as error:
                self._breaker.failed(describe(error))
                return False
            except Exception:
                _log.exception("lookup_failed")
                return False
            finally:
                self._invalidations.end(token)
            self._breaker.succeeded()
        return True
