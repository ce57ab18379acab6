"""Logs why requests to an upstream fail: when a cause appears, each minute with a count, and when the cause is gone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from proxy.upstream_errors import OWN_LIMITS, Reason, UpstreamError

_REPORT_SECONDS: Final = 60.0
"""How often a cause that lasts is logged again, with its count."""
_OVER_SECONDS: Final = 5.0
"""A cause is over once no request has failed for it for this time, and a response has arrived since."""
_RETURNING_SECONDS: Final = 60.0
"""The same, for a cause that has come back. So a cause that comes and goes is logged at most once per minute."""
_MAX_DETAIL: Final = 300

_OWN_EVENTS: Final = {
    "upstream_fails": "no_free_socket",
    "upstream_still_fails": "still_no_free_socket",
    "upstream_no_longer_fails": "free_sockets_again",
}
"""The events for causes that are not the upstream's fault."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Cause:
    detail: str
    since: float
    last: float
    reported_at: float
    requests: int = 1
    unreported: int = 0
    answered: bool = False
    """Whether a response has arrived since the last failure."""
    over: bool = False
    """Whether the end of the failure was logged."""
    returned: bool = False
    """Whether the failure returned after its end was logged."""


class UpstreamFailures:
    """The current causes of failed requests to one upstream."""

    def __init__(self, upstream: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`upstream` is the URL from the config, without user name or password."""
        self._upstream = upstream
        self._clock = clock
        self._causes: dict[Reason, _Cause] = {}
        self.lasting = False
        """Whether no response has arrived since the last failure. When one arrives, `succeeded` must be called."""

    def failed(self, error: UpstreamError) -> None:
        """Count a request that failed. Log it if its cause is new."""
        now = self._clock()
        self.lasting = True
        cause = self._causes.get(error.reason)
        if cause is None:
            cause = _Cause(error.detail[:_MAX_DETAIL], since=now, last=now, reported_at=now)
            self._causes[error.reason] = cause
            self._write(_log.warning, "upstream_fails", error.reason, cause)
            return
        cause.requests += 1
        cause.unreported += 1
        cause.last = now
        cause.answered = False
        if cause.over:
            cause.over = False
            cause.returned = True

    def succeeded(self) -> None:
        """Record that a response has arrived."""
        self.lasting = False
        for cause in self._causes.values():
            cause.answered = True

    def sweep(self) -> None:
        """Log causes that persist, and causes that are over. Call it about once per second."""
        if not self._causes:
            return
        now = self._clock()
        for reason, cause in list(self._causes.items()):
            quiet = now - cause.last
            if cause.over:
                if quiet >= _RETURNING_SECONDS:
                    del self._causes[reason]
            elif cause.answered and quiet >= (_RETURNING_SECONDS if cause.returned else _OVER_SECONDS):
                cause.over = True
                self._write(_log.info, "upstream_no_longer_fails", reason, cause)
            elif cause.unreported and now - cause.reported_at >= _REPORT_SECONDS:
                cause.reported_at = now
                self._write(_log.warning, "upstream_still_fails", reason, cause)

    def _write(self, log: Callable[..., Any], event: str, reason: Reason, cause: _Cause) -> None:
        cause.unreported = 0
        log(
            _OWN_EVENTS[event] if reason in OWN_LIMITS else event,
            upstream=self._upstream,
            reason=reason.value,
            error=cause.detail,
            requests=cause.requests,
            seconds=round(cause.last - cause.since, 1),
        )
