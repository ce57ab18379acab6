"""The state of one request and its response: the head, the verdict, the outcome, and the figures for the log."""

from typing import Protocol

from proxy.decision.api_keys import digest
from proxy.decision.routes import Route
from proxy.decision.verdict import Verdict
from proxy.http.headers import Head
from proxy.http.hop_by_hop import Hop
from proxy.refusals import Refusal
from proxy.upstream_errors import UpstreamError

PASSED = "passed"
"""The outcome, in the log and in metrics, of an exchange whose response came from the upstream."""

_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
"""The methods whose bodies all servers read. Some servers leave the body of any other method unread, and parse it as
the next request (CL.0)."""


class Ending(Protocol):
    """Ends an exchange."""

    def complete(self, exchange: "Exchange") -> None:
        """End an exchange whose whole response has been written."""

    def lose_upstream(self, exchange: "Exchange", cause: UpstreamError) -> None:
        """End an exchange whose upstream connection was lost before the end of the response."""

    def refuse(self, exchange: "Exchange", refusal: Refusal) -> None:
        """Respond with a refusal, or cut off a response that has begun."""

    def revoke(self, exchange: "Exchange", refusal: Refusal) -> None:
        """End the exchange because its key may no longer make the request."""

    def client_address(self, exchange: "Exchange") -> str:
        """Return the address of the client."""


class Exchange:
    """One request and its response. It is created for each request, and moves no bytes itself."""

    __slots__ = (
        "_digest",
        "body",
        "bytes_counted",
        "bytes_in",
        "bytes_out",
        "done",
        "ending",
        "has_body",
        "head",
        "hop",
        "keep_alive",
        "may_reuse",
        "method",
        "minor",
        "outcome",
        "request_id",
        "responded",
        "route",
        "sent_at",
        "started",
        "status",
        "target",
        "tunnel",
        "upstream_error",
        "upstream_seconds",
        "verdict",
    )

    def __init__(self, head: Head, hop: Hop, request_id: bytes, started: float, ending: Ending) -> None:
        """`started` is in seconds of the connection's clock."""
        self.hop = hop
        self.head = head
        self.method = method = head.method
        self.target = head.target
        self.minor = head.minor
        self.body = hop.body
        self.request_id = request_id
        self.started = started
        self.ending = ending
        self.keep_alive = hop.keep_alive
        """Whether the client's connection may serve another request after this one."""
        self.has_body = has_body = head.has_body
        self.may_reuse = not has_body or method in _WITH_BODY
        """Whether the upstream connection may serve another request after this one."""
        self.verdict: Verdict | None = None
        self.route: Route | None = None
        """The route, once the decision has found it."""
        self.outcome = PASSED
        self.status = 0
        self.responded = False
        """Whether the response has begun."""
        self.tunnel = False
        """Whether the exchange has become a WebSocket connection."""
        self.done = False
        self.upstream_error: UpstreamError | None = None
        """Why the upstream sent no complete response."""
        self.sent_at = 0.0
        self.upstream_seconds: float | None = None
        """How long the upstream took to respond, up to the head of its response."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.bytes_counted = 0
        """The part of `bytes_out` that the usage of the API user includes already."""
        self._digest: bytes | None = None

    def refuse(self, refusal: Refusal) -> None:
        """End the exchange with a refusal, unless it has ended."""
        if not self.done:
            self.ending.refuse(self, refusal)

    def revoke(self, refusal: Refusal) -> None:
        """End the exchange because its key was revoked. `refusal` is what a new request would get."""
        if not self.done:
            self.ending.revoke(self, refusal)

    @property
    def client_address(self) -> str:
        """The address of the client: the peer's, or the one that trusted proxies report."""
        return self.ending.client_address(self)

    @property
    def key_digest(self) -> bytes:
        """The digest of the key that the request carries, or nothing if it carries none."""
        if self._digest is None:
            claim = self.verdict.claim if self.verdict is not None else None
            self._digest = digest(claim.key) if claim is not None and claim.key is not None else b""
        return self._digest
