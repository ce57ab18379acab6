"""The pool of connections to one upstream: the limit, the idle connections, and the queue of waiting requests."""

import asyncio
import random
from collections import deque
from collections.abc import Callable

from proxy.http.body_readers import BodyReaders
from proxy.http.plain_responses import PlainResponses
from proxy.observe.upstream_failures import UpstreamFailures
from proxy.refusals import NO_FREE_SOCKET, UPSTREAM_BUSY, UPSTREAM_UNREACHABLE, Refusal, Refused
from proxy.relay import descriptors
from proxy.relay.connection_errors import connection_error
from proxy.relay.tls_files import WatchedFiles
from proxy.relay.turn import Turn
from proxy.relay.upstream_address import Create, UpstreamAddress
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.settings import LimitSettings, UpstreamTlsSettings
from proxy.upstream_errors import OWN_LIMITS, Reason, UpstreamError
from sql.name_lookups import Resolve

_YOUNGEST = 0.8
"""The smallest share of the maximum age at which a connection is replaced. Each connection gets a random share, so that
connections that were opened together are not replaced together."""


def _random_share() -> float:
    return random.uniform(_YOUNGEST, 1.0)  # noqa: S311 - spreads connections, so it need not be unpredictable


class UpstreamFailed(Refused):
    """Raised if a request gets no connection to the upstream."""

    def __init__(self, refusal: Refusal, cause: UpstreamError) -> None:
        super().__init__(refusal)
        self.cause = cause


class UpstreamPool:
    """The connections to one upstream, at most `upstream_connections`. Each one takes up a slot.

    A request waits for a slot for a limited time. Host names are resolved for each new connection, and no connection
    takes a request after `upstream_max_age_seconds`. So requests follow a name that moves to another address.
    """

    def __init__(
        self,
        url: str,
        tls: UpstreamTlsSettings | None,
        limits: LimitSettings,
        on_open: Callable[[int], None],
        turn: Turn,
        *,
        reuse_after_body: bool = True,
        jitter: Callable[[], float] = _random_share,
        resolve: Resolve | None = None,
    ) -> None:
        """`on_open` is called with +1 and -1 as connections open and close. `jitter` scales the maximum age.

        If `reuse_after_body` is False, a connection closes after a request with a body. Raises ValueError on a bad URL,
        and OSError if a TLS file cannot be used.
        """
        self._limits = limits
        self._idle_seconds = limits.upstream_idle_seconds  # a setting takes longer to read than this attribute
        self._on_open = on_open
        self.turn = turn
        self._jitter = jitter
        self._address = UpstreamAddress(url, tls, resolve=resolve)
        self.host_field = self._address.host_field
        self.body_readers = BodyReaders(trusted=reuse_after_body)
        self.plain_responses = PlainResponses()
        self.failures = UpstreamFailures(url)
        self._idle: list[UpstreamConnection] = []
        self._open = 0
        self._waiters: deque[asyncio.Future[UpstreamConnection | None]] = deque()
        self._closing = False

    def watched(self, place: str) -> WatchedFiles | None:
        """Return the files of its TLS context. `place` is the config table that names them."""
        return self._address.watched(place)

    @property
    def places_taken(self) -> int:
        """How many connections are open or being opened."""
        return self._open

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self._waiters)

    def take(self, now: float) -> UpstreamConnection | None:
        """Return the most recently used idle connection, or None. `now` is the event loop's time in seconds. Hot."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport.is_closing():
                continue
            if connection.idle_until > now:
                connection.reused = True
                return connection
            connection.transport.close()
        return None

    async def open(self, *, fresh: bool = False) -> UpstreamConnection:
        """Return a new connection, or one that becomes free while all are in use (never if `fresh`).

        Raises UpstreamFailed if no place becomes free in time, or if the upstream cannot be reached.
        """
        given = await self._place()
        if given is not None:
            if not fresh and not given.transport.is_closing():
                return given
            self._open += 1  # for the new connection; `lost` frees the place of the closed one
            given.transport.abort()
        try:
            connection = await self._address.connect(self._attempt, self._limits.connect_seconds)
        except BaseException as error:
            self._free_place()
            if isinstance(error, (OSError, UnicodeError)):  # UnicodeError: the name is not valid (IDNA)
                self.body_readers.forget()
                raise _failed(connection_error(error)) from error
            raise
        connection.expires_at = (
            asyncio.get_running_loop().time() + self._limits.upstream_max_age_seconds * self._jitter()
        )
        return connection

    async def _attempt(self, create: Create) -> UpstreamConnection:
        """Return a new connection. If this fails, its place is still taken."""
        connection = UpstreamConnection(self)
        try:
            await create(lambda: connection)
        except BaseException:
            if connection.connected:
                self._open += 1
                connection.give_up()  # this frees a place
            raise
        return connection

    async def _place(self) -> UpstreamConnection | None:
        """Wait for a place for a new connection (None), or for a connection that becomes free."""
        if not self._waiters:
            if self._open < self._limits.upstream_connections:
                self._open += 1
                return None
            # A connection may have become idle since `take` was called. Nothing else would hand it out.
            if (idle := self.take(asyncio.get_running_loop().time())) is not None:
                return idle
        waiter: asyncio.Future[UpstreamConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._limits.upstream_wait_seconds):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                given = waiter.result()  # it arrived at the same moment, so pass it on
                if given is None:
                    self._free_place()
                else:
                    self._hand_out(given)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                waited = f"no connection became free within {self._limits.upstream_wait_seconds:g} s"
                raise UpstreamFailed(UPSTREAM_BUSY, UpstreamError(Reason.NO_FREE_CONNECTION, waited)) from error
            raise

    def give_back(self, connection: UpstreamConnection, idle_seconds: float | None, now: float) -> None:
        """Take back a connection whose exchange ended cleanly. The upstream keeps it open for `idle_seconds`. Hot."""
        if self._closing or now >= connection.expires_at or connection.transport.is_closing():
            connection.transport.close()
            return
        seconds = self._idle_seconds
        if idle_seconds is not None:
            seconds = min(seconds, max(idle_seconds - 1, idle_seconds / 2))  # close before the upstream does
        idle_until = now + seconds
        connection.idle_until = idle_until if idle_until < connection.expires_at else connection.expires_at
        if self._waiters:
            self._hand_out(connection)
        else:
            self._idle.append(connection)

    def _hand_out(self, connection: UpstreamConnection) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                connection.reused = True
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def opened(self) -> None:
        """Count a new connection."""
        self._on_open(1)

    def lost(self, connection: UpstreamConnection) -> None:
        """Free the place of a connection that is closed, for whatever reason."""
        self._on_open(-1)
        if connection in self._idle:
            self._idle.remove(connection)
        self._free_place()

    def _free_place(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._open -= 1

    def sweep(self, now: float) -> None:
        """Close connections that were idle for too long. `now` is the event loop's time in seconds."""
        for connection in [idle for idle in self._idle if idle.idle_until <= now]:
            self._idle.remove(connection)
            connection.transport.close()
        self.failures.sweep()

    def close(self) -> None:
        """Close the idle connections, and the others when they are given back."""
        self._closing = True
        for connection in self._idle:
            connection.transport.close()
        self._idle.clear()


def _failed(cause: UpstreamError) -> UpstreamFailed:
    """Return the error for a connection that could not be opened."""
    if cause.reason in OWN_LIMITS:
        return UpstreamFailed(NO_FREE_SOCKET, cause)
    # Without file descriptors, the system reports that a name is not known, for example.
    if not descriptors.available(0):
        return UpstreamFailed(NO_FREE_SOCKET, UpstreamError(Reason.TOO_MANY_OPEN_FILES, "no free file descriptors"))
    return UpstreamFailed(UPSTREAM_UNREACHABLE, cause)
