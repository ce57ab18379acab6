"""How an exchange ends: completed, refused, cut off, revoked, timed out, or abandoned by its client."""

from proxy.decision.routes import Route
from proxy.enforcement import Enforcement
from proxy.http.head_writer import preflight_response, refusal_response
from proxy.http.websocket_frames import close_frame
from proxy.refusals import UPLOAD_TIMEOUT, UPSTREAM_BROKEN, UPSTREAM_TIMEOUT, Refusal
from proxy.relay.client import Client
from proxy.relay.exchange import PASSED, Exchange
from proxy.relay.request_forwarder import RequestForwarder
from proxy.relay.response_forwarder import ResponseForwarder
from proxy.settings import LimitSettings
from proxy.upstream_errors import Reason, UpstreamError

_CLIENT_LEFT_STATUS = 499
"""The status in the log and in metrics if the client left before the response, as in nginx."""

# Outcomes in the log and in metrics, besides the codes of refusals.
PREFLIGHT_ANSWERED = "preflight_answered"  # Sitelatch answered a CORS preflight
_CUT_SHORT = "cut_short"  # the response had begun
_REVOKED = "revoked"  # the response had begun
_CLIENT_LEFT = "client_left"

_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1


class ExchangeEnding:
    """Ends the exchanges of one client connection (an `exchange.Ending`).

    Each method that ends an exchange marks it as done, releases the upstream connection, and tells the client's
    connection how to continue. That step comes last, because it may begin the next exchange.
    """

    __slots__ = ("_client", "_enforcement", "_limits", "_requests", "_responses")

    def __init__(
        self,
        client: Client,
        requests: RequestForwarder,
        responses: ResponseForwarder,
        enforcement: Enforcement,
        limits: LimitSettings,
    ) -> None:
        self._client = client
        self._requests = requests
        self._responses = responses
        self._enforcement = enforcement
        self._limits = limits

    def complete(self, exchange: Exchange) -> None:
        """End an exchange whose whole response has been written."""
        exchange.done = True
        self._client.exchange_done(keep_alive=exchange.keep_alive and exchange.body.done)

    def lose_upstream(self, exchange: Exchange, cause: UpstreamError) -> None:
        """End an exchange whose upstream connection was lost before the end of the response."""
        if exchange.tunnel:
            exchange.done = True
            self._client.exchange_done(keep_alive=False)
            return
        exchange.upstream_error = cause
        if exchange.responded:
            self._cut(exchange, _CUT_SHORT)
        else:
            self.refuse(exchange, UPSTREAM_BROKEN)

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Respond with a refusal. A response that has begun is cut off instead."""
        if exchange.responded:
            self._cut(exchange, _CUT_SHORT)
            return
        keep_alive = self._keeps_alive(exchange) and not refusal.closes
        route = exchange.route or self._enforcement.table.route_at(exchange.target)
        if exchange.route is None and route is not None and route.answers_preflight(exchange.head):
            # The browser then sends the request itself, so that its page can read the refusal.
            self.answer_preflight(exchange, route)
            return
        origin = exchange.head.origin if route is not None and route.cors is not None else b""
        lines = route.lines_of(refusal, origin) if route is not None else b""
        response = refusal_response(
            refusal, exchange.request_id, lines, close=not keep_alive, head_only=exchange.method == b"HEAD"
        )
        exchange.outcome = refusal.code
        exchange.status = refusal.status
        self._respond(exchange, response, keep_alive=keep_alive)

    def answer_preflight(self, exchange: Exchange, route: Route) -> None:
        """Answer a CORS preflight of a route with `cors`."""
        keep_alive = self._keeps_alive(exchange)
        lines = route.cors.preflight(exchange.head.origin) if route.cors is not None else b""
        response = preflight_response(exchange.request_id, lines, close=not keep_alive)
        exchange.outcome = PREFLIGHT_ANSWERED
        exchange.status = 204
        self._respond(exchange, response, keep_alive=keep_alive)

    def _keeps_alive(self, exchange: Exchange) -> bool:
        return exchange.keep_alive and exchange.body.done and exchange.minor == 1

    def _respond(self, exchange: Exchange, response: bytes, *, keep_alive: bool) -> None:
        exchange.bytes_out += len(response)
        exchange.done = True
        self._requests.stop()
        self._responses.reset()
        self._client.write(response)
        self._client.exchange_done(keep_alive=keep_alive)

    def _cut(self, exchange: Exchange, outcome: str) -> None:
        """Cut off the response to the client too, and never make it look complete."""
        exchange.done = True
        exchange.outcome = outcome
        self._requests.stop()
        self._responses.flush()
        # An HTTP/1.0 client would interpret a closed connection as the end of the body.
        self._client.exchange_cut(reset=exchange.minor == 0)

    def revoke(self, exchange: Exchange, refusal: Refusal) -> None:
        """End an exchange whose key was revoked. `refusal` is what a new request would get."""
        if not exchange.responded:
            self.refuse(exchange, refusal)
            return
        frames = self._responses.frames
        if frames is None:
            self._cut(exchange, _REVOKED)
            return
        exchange.done = True
        exchange.outcome = _REVOKED
        self._requests.stop()
        self._responses.flush()
        if frames.between:
            self._client.write(close_frame(_POLICY_VIOLATION, refusal.detail))
        self._client.exchange_done(keep_alive=False, linger=True)

    def client_address(self, exchange: Exchange) -> str:
        """Return the address of the client."""
        return self._client.client_address(exchange.head)

    def abandon(self, exchange: Exchange) -> None:
        """End an exchange whose client has left. Nothing more is written to it."""
        exchange.done = True
        exchange.outcome = PASSED if exchange.tunnel else _CLIENT_LEFT
        exchange.status = exchange.status or _CLIENT_LEFT_STATUS
        # The last bytes that a client sent through a WebSocket connection must still reach the upstream.
        self._requests.stop(finish_sending=exchange.tunnel)

    def sweep(self, exchange: Exchange, now: float) -> None:
        """Count the exchange as a use of its key, and end it if it has timed out. `now` is the event loop's time."""
        limits = self._limits
        if exchange.verdict is not None and exchange.verdict.grant is not None:
            self._enforcement.still_used(exchange.verdict.grant)
        if self._client.full and now - self._client.full_since > limits.upload_idle_seconds:
            self._cut(exchange, _CUT_SHORT)
        elif self._requests.connection is not None:
            idle = now - self._requests.last_progress
            if not exchange.body.done and not self._requests.full:
                if idle > limits.upload_idle_seconds:
                    self.refuse(exchange, UPLOAD_TIMEOUT)
            elif not exchange.responded and idle > limits.answer_seconds:
                exchange.upstream_error = UpstreamError(
                    Reason.RESPONSE_TIMEOUT, f"no response within {limits.answer_seconds:g} s"
                )
                self.refuse(exchange, UPSTREAM_TIMEOUT)
