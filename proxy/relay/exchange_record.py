"""Records each exchange in the metrics and the access log, once, when it ends."""

from collections.abc import Callable, Mapping

from proxy.decision.routes import Route
from proxy.decision.site_ids import shown_id
from proxy.decision.verdict import Verdict
from proxy.http.headers import Head
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.observe.upstream_failures import UpstreamFailures
from proxy.relay.exchange import PASSED, Exchange
from proxy.usage_counts import UsageCounts


class Record:
    """Counts and logs exchanges."""

    def __init__(
        self,
        metrics: Metrics,
        access_log: AccessLog,
        clock: Callable[[], float],
        failures: Mapping[Route, UpstreamFailures],
        usage: UsageCounts,
    ) -> None:
        """`clock` must be the one that set the exchanges' start times. `failures` is per route."""
        self._metrics = metrics
        self._access_log = access_log
        self._clock = clock
        self._failures = failures
        self._usage = usage
        self.logs_passed = access_log.writes(PASSED)
        """Whether exchanges that passed are logged."""
        self.log_plain = access_log.write_plain
        """Logs a plain exchange."""

    def exchange(self, exchange: Exchange, client: str) -> None:
        """Record an exchange that has ended. `client` is the client's address. Hot."""
        verdict = exchange.verdict
        claim = verdict.claim if verdict is not None else None
        grant = verdict.grant if verdict is not None else None
        route = claim.route.name if claim is not None else ""
        seconds = self._clock() - exchange.started
        self.count_bytes(exchange)
        self._metrics.exchanges_open -= 1
        self._metrics.exchange(route, exchange.outcome, exchange.status, seconds, exchange.upstream_seconds)
        error = exchange.upstream_error
        if error is not None and claim is not None:
            self._metrics.upstream_failed(route, error.reason)
            self._failures[claim.route].failed(error)
        shadow = ""
        if verdict is not None and claim is not None and claim.route.in_shadow_mode:
            shadow = verdict.result
        if not self._access_log.writes(exchange.outcome, shadow or PASSED):
            return
        self._access_log.write(
            request_id=exchange.request_id.decode(),
            client=client,
            method=exchange.method,
            path=exchange.target,
            status=exchange.status,
            outcome=exchange.outcome,
            route=route,
            user_id=grant.user_id if grant is not None else None,
            sites=_sites(verdict),
            seconds=seconds,
            upstream_seconds=exchange.upstream_seconds,
            upstream_error=error.reason if error is not None else None,
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            shadow=shadow,
        )

    def count_bytes(self, exchange: Exchange) -> None:
        """Add what was sent since the last call to the usage of the API user. Long responses are counted in parts."""
        verdict, sent = exchange.verdict, exchange.bytes_out - exchange.bytes_counted
        if sent and verdict is not None and verdict.grant is not None and verdict.refusal is None:
            self._usage.users[verdict.grant.user_id].bytes_out += sent
            exchange.bytes_counted += sent

    def lone_head(
        self, outcome: str, status: int, raw: Head | None, *, request_id: bytes, client: str, bytes_out: int
    ) -> None:
        """Record the response to a head that began no exchange. `raw` is None if no head could be parsed."""
        self._metrics.exchange("", outcome, status, 0.0, None)
        self._access_log.write(
            request_id=request_id.decode(),
            client=client,
            method=raw.method if raw is not None else b"-",
            path=raw.target if raw is not None else b"",
            status=status,
            outcome=outcome,
            route="",
            user_id=None,
            sites=(),
            seconds=0.0,
            upstream_seconds=None,
            upstream_error=None,
            bytes_in=0,
            bytes_out=bytes_out,
        )


def _sites(verdict: Verdict | None) -> tuple[str, ...]:
    """Return the ids of the sites that a passed request names, or the names that a refused one used."""
    if verdict is None or verdict.claim is None:
        return ()
    if verdict.refusal is None:
        return verdict.sites
    return tuple(shown_id(name) for name in verdict.claim.sites)
