"""The listeners behind ops and admin: aiohttp's, but silent about what a bad request held, and with a time-out.

aiohttp's own answer to a malformed request repeats the offending line, and that line may be an Authorization header.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import hdrs, web

from admin.problems import plain_problem

HEAD_SECONDS = 15.0
"""How long a connection may wait for a whole request head, the first or the next one."""

FIELD_BYTES = 20_000
"""The longest header field: JWTs that list many groups are longer than aiohttp's own bound of 8 KiB."""

RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger("sitelatch.backdoor")


def internal_listeners(
    ops: web.Application, ops_listen: str, admin: web.Application, admin_listen: str
) -> dict[str, web.Application]:
    """Return what to serve at each address: one application for both where the addresses are the same."""
    if ops_listen == admin_listen:
        ops.add_subapp("/admin", admin)
        return {ops_listen: ops}
    root = web.Application()
    root.add_subapp("/admin", admin)
    return {ops_listen: ops, admin_listen: root}


class InternalRunner(web.AppRunner):
    """Runs an ops or admin application. Give it to TCPSite or UnixSite, and `cleanup()` it."""

    def __init__(
        self, app: web.Application, *, head_seconds: float = HEAD_SECONDS, shutdown_timeout: float = 5.0
    ) -> None:
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": head_seconds,
            "max_field_size": FIELD_BYTES,
            # Before anybody is known, a body is a thousand times as large as what was sent.
            "auto_decompress": False,
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
        """Answer a request that could not be read, or whose handling broke. Nothing of `exc` or `message` is told."""
        if status >= 500:
            log.error("a request failed", error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        answer = plain_problem(status)
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log the kind of error only: its text may hold what the client sent."""
        log.error("a connection failed", error=type(kw.get("exc_info")).__name__)

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Log nothing."""


def _quiet(handler: RequestHandler) -> RequestHandler:
    async def quiet(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            # Among them the answer to an unknown expectation, which repeats it.
            allow = error.headers.get(hdrs.ALLOW)
            return plain_problem(error.status, {} if allow is None else {hdrs.ALLOW: allow})

    return quiet
