"""A scope table in memory, and clocks that tests control."""

import asyncio
import selectors
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from proxy.decision.grant import SiteOwner
from proxy.decision.site_ids import names_of
from sql.queries import query

FIND_GRANT = query("find_grant")
FIND_KEYS = query("find_keys")
FIND_SITES = query("find_sites")
LIST_KEYS = query("list_keys")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that never waits for a timer: it adds the time to `jumped` instead."""

    jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select()
        ready = super().select(0)
        if not ready:
            self.jumped += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else is left to do."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.jumped


class MemoryScope:
    """A pool that answers queries from `grants` and `sites`.

    After `hold()`, answers that were already read wait for `resume()`, as on a slow network.
    """

    def __init__(self) -> None:
        self.grants: dict[bytes, dict[str, Any]] = {}
        self.sites: dict[str, str] = {}
        self.other_folds: dict[str, str] = {}
        """The folded ids of sites that were stored with a different folding."""
        self.position = 0
        self.standby = False
        self.failures: list[Exception] = []
        """Errors that the next queries raise, one each."""
        self.down: Exception | None = None
        """The error that every query raises while it is set."""
        self.failing: dict[str, Exception] = {}
        """The error that each of these queries raises, as if a table were locked."""
        self.queried: list[object] = []
        """The argument of each query so far, oldest first."""
        self.under_way = 0
        self.most_under_way = 0
        self._open = asyncio.Event()
        self._open.set()

    def add(self, digest: bytes, user_id: str = "ada", *sites: str, **rest: object) -> None:
        self.grants[digest] = {
            "user_id": user_id,
            "workspace": "acme",
            "all_sites": False,
            "sites": list(sites),
            "expires_at": None,
            "disabled": False,
            "methods": None,
            "networks": None,
            "requests_per_second": None,
            "burst": None,
            "requests_per_day": None,
            "several_keys": False,
        } | rest

    def hold(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator["MemoryScope"]:  # noqa: ASYNC109
        yield self

    async def fetch(self, query: str, /, *args: Any) -> Sequence[dict[str, Any]]:
        self.queried.append(args[0])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            rows = self._rows(query, *args)
            await self._open.wait()
            await asyncio.sleep(0)
            if self.failures:
                raise self.failures.pop(0)
            if self.down is not None:
                raise self.down
            if query in self.failing:
                raise self.failing[query]
        finally:
            self.under_way -= 1
        return rows

    def terminate(self) -> None:
        """Do nothing: every connection is this object."""

    async def execute(self, query: str, /, *args: Any) -> str:
        raise NotImplementedError

    def _rows(self, query: str, argument: Any, *rest: int) -> list[dict[str, Any]]:
        always = {"whole": True, "standby": self.standby, "feed_position": self.position}
        if query == FIND_GRANT:
            row = self.grants.get(argument)
            return [always | {"user_id": None} | (row or {})]
        if query == LIST_KEYS:
            prefix_bytes, count = rest
            page = sorted(digest for digest in self.grants if digest > argument)[:count]
            return [always | {"prefixes": b"".join(digest[:prefix_bytes] for digest in page) or None}]
        if query == FIND_KEYS:
            return [always | {"existing": [digest for digest in argument if bytes.fromhex(digest) in self.grants]}]
        by_name = {name: site for site in self.sites for name in self._names_of(site)}
        found = {name: by_name.get(name) for name in argument}
        return [
            always | {"name": name, "id": site, "workspace": None if site is None else self.sites[site]}
            for name, site in found.items()
        ]

    def _names_of(self, site: str) -> tuple[str, str]:
        return (site, "/" + self.other_folds[site]) if site in self.other_folds else names_of(site)


def owned(workspaces: Mapping[str, str | None]) -> dict[str, SiteOwner | None]:
    """Return the owners of sites by id, from their workspaces; None: no such site."""
    return {site: None if workspace is None else SiteOwner(site, workspace) for site, workspace in workspaces.items()}


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a condition. Raises AssertionError if it does not become true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.001)
