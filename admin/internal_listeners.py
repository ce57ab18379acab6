"""HTTP servers for the ops and admin listeners: aiohttp with timeouts, and with errors that never quote a request.

aiohttp's own response to a malformed request repeats the offending line, which may be an Authorization header.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import hdrs, web

from admin.problem_details import plain_problem

HEAD_SECONDS = 15.0
"""Timeout for a complete request head, for the first and for each later request of a connection."""

FIELD_BYTES = 20_000
"""The maximum size of a header field. JWTs that list many groups exceed aiohttp's default of 8 KiB."""

RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger("sitelatch.internal")


def internal_listeners(
    ops: web.Application, ops_listen: str, admin: web.Application, admin_listen: str
) -> dict[str, web.Application]:
    """Return the application for each listen address. Ops and admin share one if their addresses are equal."""
    if ops_listen == admin_listen:
        ops.add_subapp("/admin", admin)
        return {ops_listen: ops}
    root = web.Application()
    root.add_subapp("/admin", admin)
    return {ops_listen: ops, admin_listen: root}


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
    def __call__(self) -> web.RequestHandler:
        return _QuietConnection(self, loop=self._loop, **self._kwargs)


class _QuietConnection(web.RequestHandler):
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
        try:
            return await handler(request)
        except web.HTTPException as error:
            # For example, aiohttp quotes an unknown Expect header in the error that it raises.
            allow = error.headers.get(hdrs.ALLOW)
            return plain_problem(error.status, {} if allow is None else {hdrs.ALLOW: allow})

    return quiet
