"""HTTP servers for the ops and admin listeners: aiohttp with timeouts, and with errors that never quote a request.

aiohttp's own response to a malformed request repeats the offending line, which may be an Authorization header.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web

from admin.problem_details import plain_problem
from proxy.relay import descriptors

HEAD_SECONDS = 15.0
"""Timeout for a complete request head, for the first and for each later request of a connection."""

FIELD_BYTES = 20_000
"""The maximum size of a header field. JWTs that list many groups exceed aiohttp's default of 8 KiB."""

MAX_CONNECTIONS = 256
"""The maximum number of connections of a listener, if there are enough file descriptors."""

_DESCRIPTORS_SHARE = 8
"""Each listener may use at most one in this many file descriptors, because the front door needs most of them."""

_LOG_SECONDS = 60.0
"""The minimum time between two log lines about too many connections."""

_MOST_SLASHES = 32
"""The maximum number of slashes in a path. aiohttp's router takes time that is quadratic in it, and no endpoint has
nearly as many."""

RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger("sitelatch.internal")


def internal_listeners(
    ops: web.Application, ops_listen: str, admin: web.Application, admin_listen: str
) -> dict[str, web.Application]:
    """Return the application for each listen address. Ops and admin share one if their addresses are equal.

    The root of the admin listener leads to the page.
    """
    root = ops if ops_listen == admin_listen else web.Application()
    root.add_subapp("/admin", admin)
    root.router.add_get("/", _to_the_page)
    return {ops_listen: ops, admin_listen: root}


async def _to_the_page(_: web.Request) -> web.StreamResponse:
    # Relative, because a proxy in front may have mounted the listener under another path.
    return web.Response(status=307, headers={hdrs.LOCATION: "admin/", hdrs.CACHE_CONTROL: "no-store"})


class InternalRunner(web.AppRunner):
    """Runner for an ops or admin application. Pass it to TCPSite or UnixSite, and call `cleanup()` at the end."""

    def __init__(
        self, app: web.Application, *, head_seconds: float = HEAD_SECONDS, shutdown_timeout: float = 5.0
    ) -> None:
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": head_seconds,
            "max_field_size": FIELD_BYTES,
            # With decompression, an unauthenticated client could send a body that expands to a thousand times its size.
            "auto_decompress": False,
            # A query ends when its client leaves.
            "handler_cancellation": True,
        }
        super().__init__(app, shutdown_timeout=shutdown_timeout, **self._options)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _QuietServer(_quiet(made.request_handler), request_factory=made.request_factory, **self._options)


class _QuietServer(web.Server):
    """Bounds its connections, so that its clients cannot take the file descriptors that the front door needs.

    A new connection takes the place of the oldest one, so that probes are answered although clients leave many
    connections open.
    """

    def __init__(self, handler: RequestHandler, **options: Any) -> None:
        super().__init__(handler, **options)
        self._maximum = max(min(MAX_CONNECTIONS, descriptors.limit() // _DESCRIPTORS_SHARE), 1)
        self._open: dict[web.RequestHandler, None] = {}
        """The connections that may take further requests, oldest first."""
        self._closing: set[web.RequestHandler] = set()
        """The connections that close after their current request."""
        self._logged_at: float | None = None

    def __call__(self) -> web.RequestHandler:
        return _QuietConnection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._open) >= self._maximum:
            self._log_full(transport)
            if len(self._closing) >= self._maximum:
                transport.abort()
                return
            oldest = next(iter(self._open))
            del self._open[oldest]
            self._closing.add(oldest)
            if isinstance(oldest, _QuietConnection) and oldest.busy:
                oldest.close()
            else:
                oldest.force_close()  # `close` would not close a connection that waits for a request
        self._open[handler] = None

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._open.pop(handler, None)
        self._closing.discard(handler)

    def _log_full(self, newest: asyncio.Transport) -> None:
        now = self._loop.time()
        if self._logged_at is None or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            local, peer = newest.get_extra_info("sockname"), newest.get_extra_info("peername")
            log.warning(
                "too_many_internal_connections",
                listener=local,
                limit=self._maximum,
                client=peer[0] if isinstance(peer, tuple) else "",
                consequence="the oldest connections are closed",
            )


class _QuietConnection(web.RequestHandler):
    busy = False
    """Whether a request is handled or its response is sent."""

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.busy = False

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Respond to a request that could not be parsed or handled, without quoting `exc` or `message`."""
        if status >= 500:
            log.error("request_failed", error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has already begun")
        response = plain_problem(status)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log only the type of an error: its message may quote the client."""
        log.error("connection_failed", error=type(kw.get("exc_info")).__name__)

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Log nothing."""


def _quiet(handler: RequestHandler) -> RequestHandler:
    async def quiet(request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, _QuietConnection):
            request.protocol.busy = True
        if request.rel_url.raw_path.count("/") > _MOST_SLASHES:
            return plain_problem(HTTPStatus.NOT_FOUND)
        try:
            return await handler(request)
        except web.HTTPException as error:
            # For example, aiohttp quotes an unknown Expect header in the error that it raises.
            allow = error.headers.get(hdrs.ALLOW)
            return plain_problem(error.status, {} if allow is None else {hdrs.ALLOW: allow})

    return quiet
