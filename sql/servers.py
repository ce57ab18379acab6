"""The hosts of a DSN: the order in which they are tried, and connection attempts that outlast their callers."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

import asyncpg

from sql.connect import CannotConnect, NoMatchingServer, connect_to
from sql.dsn.dsn import Dsn
from sql.dsn.hosts import Host
from sql.name_lookups import NameLookups, Resolve
from sql.open_connections import PooledConnection

CONNECT_SECONDS = 5.0
"""How long to try all hosts if the DSN sets no `connect_timeout`. Long enough for a failover to a standby, and short
enough that a waiting client still gets an answer."""

_LEAST_SECONDS = 1.0
"""The minimum time for each host, no matter how many there are. It suffices for TLS with a distant host."""

_SILENT_SECONDS = 10.0
"""For this time, nobody waits for a host that did not answer, unless all others fail."""


_PRIMARY = ("primary", "read-write")


class Servers:
    """Connects to the first host of a DSN that accepts a connection. All users of a DSN share one object and host."""

    def __init__(
        self, dsn: Dsn, *, clock: Callable[[], float] = time.monotonic, resolve: Resolve | None = None
    ) -> None:
        self._dsn = dsn
        self._clock = clock
        self._resolve = resolve or NameLookups().resolve
        self._silent_until: dict[Host, float] = {}
        self._abandoned: defaultdict[str, list[asyncio.Task[PooledConnection]]] = defaultdict(list)
        """The attempts whose callers gave up, keyed by role. Some may have ended."""

    async def connect(self, role: str, *, may_wait: bool = False) -> PooledConnection:
        """Return a new connection. Raises CannotConnect, and the errors that the server reports.

        NoMatchingServer, a kind of CannotConnect, means that hosts answered, but none is the primary that is needed.

        `role` names the connection in the server's statistics, `sitelatch-<role>`, unless the DSN names it. If the
        caller is canceled, the attempt goes on, and the next caller with this role gets its connection. Otherwise, a
        caller with little time would never get one from a slow server.

        A host that was silent is tried after all others until it answers a caller that `may_wait` for it. Otherwise,
        some lookups would time out for as long as the host is down.
        """
        abandoned = self._abandoned[role]
        while abandoned:
            attempt = abandoned.pop(0)
            if not attempt.done() or ((made := _made_by(attempt)) is not None and not made.is_closed()):
                break
        else:
            attempt = asyncio.get_running_loop().create_task(self._connect(role, may_wait=may_wait))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if not attempt.cancelled():
                self._abandoned[role].append(attempt)
                attempt.add_done_callback(self._forget_failure)
            raise

    def as_role(self, dsn: Dsn) -> "Servers":
        """Return an object for another role's DSN with the same hosts. Both objects share which hosts are silent."""
        servers = Servers(dsn, clock=self._clock, resolve=self._resolve)
        servers._silent_until = self._silent_until
        return servers

    def drop_abandoned(self) -> None:
        """End the attempts whose callers gave up, and close the connections that they made."""
        for attempts in self._abandoned.values():
            for attempt in attempts:
                if not attempt.cancel() and (made := _made_by(attempt)) is not None:
                    made.terminate()
        self._abandoned.clear()

    def _forget_failure(self, attempt: asyncio.Task[PooledConnection]) -> None:
        """Forget an abandoned attempt that failed, so that the next caller starts another one."""
        if _made_by(attempt) is None:
            for attempts in self._abandoned.values():
                if attempt in attempts:
                    attempts.remove(attempt)

    async def _connect(self, role: str, *, may_wait: bool) -> PooledConnection:
        """Try the hosts in order, each for its share of the time."""
        dsn = self._dsn
        seconds = dsn.connect_seconds or max(CONNECT_SECONDS / len(dsn.hosts), _LEAST_SECONDS)
        # As in libpq: a standby if there is one, otherwise any server.
        passes = ("standby", "any") if dsn.target_session_attrs == "prefer-standby" else (dsn.target_session_attrs,)
        failures: dict[str, None] = {}
        failure: type[CannotConnect] = CannotConnect
        hosts = self._in_order(may_wait=may_wait)
        for session in passes:
            for host in hosts:
                try:
                    connection = await connect_to(host, dsn, role, session, seconds=seconds, resolve=self._resolve)
                except TimeoutError as error:
                    self._silent_until[host] = self._clock() + _SILENT_SECONDS
                    failures[f"{host}: {str(error) or 'timed out'}"] = None
                except CannotConnect as error:
                    self._silent_until.pop(host, None)
                    failures[str(error)] = None
                    if isinstance(error, NoMatchingServer) and session in _PRIMARY:
                        failure = NoMatchingServer
                except asyncpg.CannotConnectNowError:
                    if host == hosts[-1]:
                        raise
                    failures[f"{host}: the server is starting or stopping"] = None
                else:
                    self._silent_until.pop(host, None)
                    return connection
        raise failure("; ".join(failures))

    def _in_order(self, *, may_wait: bool) -> list[Host]:
        """Return the hosts in the order of the DSN, except that silent hosts come last."""
        now = self._clock()
        silent = {host for host, until in self._silent_until.items() if until > now or not may_wait}
        return sorted(self._dsn.hosts, key=silent.__contains__)


def _made_by(attempt: asyncio.Task[PooledConnection]) -> PooledConnection | None:
    """Return the connection that an attempt made, or None if it failed."""
    return None if attempt.cancelled() or attempt.exception() is not None else attempt.result()
