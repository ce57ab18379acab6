"""Judges each request of a client connection, then forwards or answers it."""

import asyncio

import structlog

from proxy.decision.claim import Claim
from proxy.decision.method_override import overrides_method
from proxy.decision.verdict import Lookup, Verdict
from proxy.enforcement import Pending
from proxy.http.absolute_form import ASTERISK
from proxy.http.forwarding import forwarding_lines
from proxy.http.head_writer import plain_request_head, request_head
from proxy.refusals import INTERNAL_ERROR
from proxy.relay.client import JUDGING, Client
from proxy.relay.exchange import Exchange
from proxy.relay.exchange_ending import ExchangeEnding
from proxy.relay.peer import Peer
from proxy.relay.request_forwarder import RequestForwarder
from proxy.relay.response_forwarder import ResponseForwarder
from proxy.relay.services import Services
from proxy.relay.upstream_pool import UpstreamPool

_log = structlog.get_logger(__name__)


class Admission:
    """Gets the verdict on each request of a client connection, then forwards or answers the request."""

    __slots__ = ("_client", "_ending", "_loop", "_peer", "_requests", "_responses", "_services")

    def __init__(
        self,
        client: Client,
        peer: Peer,
        requests: RequestForwarder,
        responses: ResponseForwarder,
        ending: ExchangeEnding,
        services: Services,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._client = client
        self._peer = peer
        self._requests = requests
        self._responses = responses
        self._ending = ending
        self._services = services
        self._loop = loop

    def judge(self, exchange: Exchange) -> None:
        """Get the verdict and act on it: at once if everything needed is cached, otherwise after a lookup."""
        verdict = self._services.enforcement.judge(exchange.head)
        if isinstance(verdict, Pending) and verdict.lookup is Lookup.CLIENT_ADDRESS:
            verdict = self._services.enforcement.judge_from(verdict, self._peer.client_address(exchange.head))
        if isinstance(verdict, Pending):
            exchange.route = verdict.claim.route
            shadow = self._services.shadow
            if shadow is not None and verdict.claim.route.in_shadow_mode:
                shadow.look_up(verdict, self._peer.client_address(exchange.head))
                self._conclude(exchange, Verdict(None, verdict.claim))
                return
            self._client.hold(JUDGING)
            self._requests.wait_for(self._loop.create_task(self._judge_slowly(exchange, verdict)))
        else:
            self._conclude(exchange, verdict)

    async def _judge_slowly(self, exchange: Exchange, pending: Pending) -> None:
        try:
            address = self._peer.client_address(exchange.head)
            verdict = await self._services.enforcement.judge_slowly(pending, address)
            self._requests.wait_for(None)
            self._conclude(exchange, verdict)
        except Exception:
            _log.exception("the request could not be forwarded; it was refused")
            exchange.refuse(INTERNAL_ERROR)
            return
        if self._client.full_exchange is exchange:  # otherwise the next exchange may be waiting
            self._client.release(JUDGING)

    def _conclude(self, exchange: Exchange, verdict: Verdict) -> None:
        exchange.verdict = verdict
        shadow = self._services.shadow
        suspended = shadow is not None and shadow.suspends(exchange.head, verdict)
        claim = verdict.claim
        if claim is not None:
            exchange.route = claim.route
        if verdict.refusal is not None and not suspended:
            exchange.refuse(verdict.refusal)
        elif claim is not None:
            if claim.preflight:
                self._ending.answer_preflight(exchange, claim.route)
                return
            pool = self._services.pools[claim.route]
            plain = claim.plain
            if plain is not None and not self._peer.trusted and claim.route.keeps_host:
                origin = self._peer.origin_lines(plain.shape.host)
                written = plain_request_head(plain, verdict.identity, exchange.request_id, origin)
            else:
                written = self._request_head(exchange, verdict, claim, pool)
            self._requests.start(exchange, pool, written, self._responses)

    def _request_head(self, exchange: Exchange, verdict: Verdict, claim: Claim, pool: UpstreamPool) -> bytes:
        """Return the head for the upstream, with the headers about the API user and the request's origin."""
        hop = exchange.hop
        peer = self._peer
        target, fields = claim.target, claim.fields
        if hop.whole_server:  # the decision has judged `/`, which an overriding method may not turn into something else
            target, fields = ASTERISK, [field for field in fields if not overrides_method(field[0])]
        fields, lines, exchange.request_id = forwarding_lines(
            fields,
            peer=peer.address.encode(),
            scheme=peer.scheme,
            host=hop.host,
            request_id=exchange.request_id,
            trusted=peer.trusted,
        )
        if not hop.host:
            fields = [(b"Host", pool.host_field), *fields]
        elif claim.route.settings.host == "upstream":
            fields = [(n, pool.host_field) if n.lower() == b"host" else (n, v) for n, v in fields]
        return request_head(
            exchange.method,
            target,
            fields,
            verdict.identity + lines,
            chunked=hop.chunked,
            websocket=hop.websocket_key is not None,
        )
