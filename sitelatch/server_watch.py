"""Watches which server the address of a database leads to. It may move while connections to it stay open."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import asyncpg
import structlog

from proxy.grants.connections import DATABASE_FAILURES, describe_connecting
from proxy.grants.entries import random_jitter
from sql.queries import query
from sql.servers import Servers

_DESCRIBE_SERVER = query("describe_server")

_REOPEN_SECONDS = 5.0
"""How old the connection may become. Only a new connection shows where the address leads now."""

_PATIENCE_SECONDS = 1.0
"""How long to wait for a new connection while there is an old one."""

_INTERVAL_SECONDS = 1.0
_READ_ONLY_SECONDS = 2.0
_TIMEOUT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Server(NamedTuple):
    """A server, and whether it can be used."""

    started: str
    """When the server was started, which identifies it."""
    standby: bool
    read_only: bool

    @property
    def fault(self) -> str:
        """Why the server does not accept writes, or ""."""
        if self.standby:
            return "the server is a standby"
        return "the server is read-only (default_transaction_read_only)" if self.read_only else ""


def pause_seconds(*, read_only: bool) -> float:
    """Return the time until the next check. It is longer while each check opens a connection.

    It varies randomly by up to a fifth, so that many processes do not connect together.
    """
    return (_READ_ONLY_SECONDS if read_only else _INTERVAL_SECONDS) * (1 - random_jitter() / 5)


async def _ignore(moved: bool) -> None:
    pass


class ServerWatch:
    """Watches the database over its own connection, which is reopened every few seconds.

    `on_primary` is called when a check finds a server that accepts writes, unless the check before found the same one.
    Its argument says whether the server has changed. Older connections then lead to the previous server; otherwise,
    they may have been refused writes.
    """

    def __init__(
        self,
        servers: Servers,
        *,
        on_primary: Callable[[bool], Awaitable[None]] = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = servers
        self._on_primary = on_primary
        self._clock = clock
        self._connection: asyncpg.Connection | None = None
        self._opened_at = 0.0
        self._is_new = False
        self._primary: str | None = None
        self._last: str | None = None
        self._refusal: str | None = None
        self.fault = ""
        """Why the server does not accept writes, as of `run`'s last check, or ""."""

    async def connection(self) -> asyncpg.Connection:
        """Return the connection. Raises DATABASE_FAILURES."""
        old = self._connection
        if old is None or self._clock() >= self._opened_at + _REOPEN_SECONDS:
            try:
                async with asyncio.timeout(None if old is None else _PATIENCE_SECONDS):
                    self._connection = await self._servers.connect("watch", may_wait=True)
            except TimeoutError:
                if old is None:
                    raise
                return old  # the attempt goes on, and the next call gets its connection
            except DATABASE_FAILURES as error:
                if old is None:
                    raise
                self._log_refusal(describe_connecting(error))
            else:
                self._refusal = None
                self._is_new = True
                if old is not None:
                    old.terminate()
            self._opened_at = self._clock()
        if self._connection is None:
            raise ConnectionResetError  # `close` was called
        return self._connection

    async def look(self) -> Server:
        """Return the server that the DSN leads to. Raises DATABASE_FAILURES."""
        (row,) = await (await self.connection()).fetch(_DESCRIBE_SERVER)
        server = Server(row["started"], row["standby"], row["read_only"])
        if server.fault:
            self._primary = None
            self.close()
        elif self._is_new and server.started != self._primary:
            # Only a new connection counts, because a pooler may send each query on an existing connection to a
            # different server.
            self._primary = server.started
            await self._on_primary(self._last not in (None, server.started))
        self._last = server.started
        self._is_new = False
        return server

    async def run(self, answers: Callable[[], bool]) -> None:
        """Look every second until canceled, and log whether the server accepts writes.

        While `answers` returns False, the database is known to be down, and PgBouncer would remember a failed login.
        """
        while True:
            if not answers():
                await asyncio.sleep(pause_seconds(read_only=False))
                continue
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    fault = (await self.look()).fault
            except DATABASE_FAILURES:
                self.close()  # the health check, or the next request to the admin API, reports this
                await asyncio.sleep(_READ_ONLY_SECONDS)  # until `answers` knows whether the database is down
            else:
                if fault and fault != self.fault:
                    _log.warning("admin_database_read_only", reason=fault)
                elif self.fault and not fault:
                    _log.info("admin_database_writable")
                self.fault = fault
            await asyncio.sleep(pause_seconds(read_only=bool(self.fault)))

    def close(self) -> None:
        """Close the connection. The next call opens a new one."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _log_refusal(self, reason: str) -> None:
        """Log once that no new connection can be opened, although the old one still works."""
        if reason != self._refusal:
            self._refusal = reason
            _log.warning("database_refuses_connections", reason=reason)
