"""Shares the limits of API users among all processes, through PostgreSQL.

Every second, each process writes its demand into its own row of a table, and reads the demand of the others in the same
statement. So requests never wait for it, and processes never wait for each other.
"""

import asyncio
import time
import uuid
from collections.abc import Callable

import structlog

from proxy.grants.connections import DATABASE_FAILURES, Pool, acquire, describe
from proxy.limits.user_limits import UserLimits
from sql.queries import query

_REPORT_DEMAND = query("report_demand")

_SECONDS = 1.0
"""The interval between reports."""

_WRITE_SECONDS = 2.0
"""How long acquiring a connection and reporting may take."""

_log = structlog.get_logger()


class DemandReports:
    """Reports the demand of the API users with limits, and sets what this process gets of each limit.

    While the database does not answer, all shares stay as they are.
    """

    def __init__(
        self,
        limits: UserLimits,
        pool: Pool,
        *,
        from_start: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `from_start`, reports begin before the first request with a limit, so that its share is known."""
        self._limits = limits
        self._pool = pool
        self._from_start = from_start
        self._clock = clock
        self._process = str(uuid.uuid4())
        self._answered_at: float | None = None
        self._failing_since: float | None = None

    @property
    def age_seconds(self) -> float:
        """How old the shares are, in seconds. 0 if no API user had a limit yet."""
        since = self._answered_at if self._answered_at is not None else self._failing_since
        return 0.0 if since is None else self._clock() - since

    async def run(self) -> None:
        """Report every second until canceled, from the first request with a limit on."""
        while True:
            if self._from_start or self._limits.used:
                await self.report()
            await asyncio.sleep(_SECONDS)

    async def report(self) -> bool:
        """Report the demand since the last report, and set the shares. Returns False if the database did not answer."""
        demand = self._limits.measure()
        rates = [repr(rate) for rate in demand.values()]
        try:
            async with asyncio.timeout(_WRITE_SECONDS), acquire(self._pool, _WRITE_SECONDS) as connection:
                [row] = await connection.fetch(_REPORT_DEMAND, self._process, list(demand), rates)
        except DATABASE_FAILURES as error:
            if self._failing_since is None:
                _log.warning("limits_not_shared", reason=describe(error))
                self._failing_since = self._clock()
            return False
        except Exception:
            if self._failing_since is None:
                _log.exception("limits_not_shared")
                self._failing_since = self._clock()
            return False
        if self._failing_since is not None:
            self._failing_since = None
            _log.info("limits_shared_again")
        self._answered_at = self._clock()
        self._limits.divide(dict(zip(demand, map(float, row["others"]), strict=True)), row["processes"])
        return True
