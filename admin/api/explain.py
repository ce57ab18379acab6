"""Decides on a request without sending it, and explains step by step why it passes or is refused.

The verdict comes from an `Enforcement`, like the front door's.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import asyncpg

from admin.api.explain_sites import describe_sites
from admin.api.explain_sources import NothingCached, UserScope
from admin.api.explanation import (
    Explained,
    Explanation,
    describe_forwarded,
    describe_grant,
    describe_head,
    describe_limits,
    describe_refusal,
)
from admin.api.users import get_user
from admin.connections import CONNECTION_SECONDS
from admin.identity.admins import WorkspaceLimit
from admin.problems import NotFound
from admin.text_rules import is_text
from proxy.decision.api_keys import new_key
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.key_examples import with_key
from proxy.decision.limits import read_limits
from proxy.decision.networks import read_network
from proxy.decision.path_readings import read_path
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.decision.target import split
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.cache import UNKNOWN, GrantCache, Unknown
from proxy.grants.connections import DATABASE_FAILURES, describe_connecting
from proxy.grants.remembered_grants import GrantSource
from proxy.grants.scope_table import ScopeTable
from proxy.http.headers import Fields, Head
from proxy.http.hop_by_hop import clean_request
from proxy.http.malformed_requests import REQUEST_LINE
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.observe.metrics import Metrics
from proxy.refusals import INTERNAL_ERROR, INVALID_KEY, MISSING_KEY, NETWORK_NOT_ALLOWED, Refused
from proxy.relay.listeners import usual_authority
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings
from proxy.shadow import shadowed_route
from sql.embedded.server import EmbeddedServerFailed, ServerBinariesMissing

_ABSOLUTE = re.compile(rb"[A-Za-z]+://([^/?]*+)")


@dataclass(frozen=True, slots=True)
class ExplainedRequest:
    """A request, and the API user that sends it, identified by `user_id` or `key`. With neither, it has no key."""

    method: bytes
    target: bytes
    fields: Fields
    user_id: str | None = None
    key: bytes | None = field(default=None, repr=False)
    address: str | None = None
    """The client's address."""


class FrontDoorSettings(NamedTuple):
    """The tables of the config that decide on requests."""

    proxy: ProxySettings
    limits: LimitSettings
    keys: KeySettings
    grants: GrantSettings


Connect = Callable[[], AbstractAsyncContextManager[asyncpg.Pool]]
"""Lends a pool. The borrower uses one connection at a time."""


class Explainer:
    """Explains the decisions of a front door."""

    def __init__(self, settings: FrontDoorSettings) -> None:
        self._settings = settings
        self._table = RouteTable(settings.proxy.routes, settings.keys)

    async def explain(self, request: ExplainedRequest, connect: Connect, within: WorkspaceLimit = None) -> Explained:
        """Decide on the request, and explain the decision. It is undecided if the database does not answer.

        `within` lists the workspaces whose data the explanation may reveal.
        """
        explanation = Explanation()
        given = request.fields
        if not any(name.lower() == b"host" for name, _ in given):
            url = _ABSOLUTE.match(request.target)
            given = [(b"Host", url[1] if url else usual_authority(self._settings.proxy.listen).encode()), *given]
        try:
            head = self._received(request, given)
        except Refused as refused:
            return explanation.refused(refused.refusal)
        in_origin_form = "The target is judged and forwarded as its path and query."
        more = [] if head.target == request.target else [in_origin_form]
        explanation.add_step("Head", *describe_head(given, head.fields), *more)

        try:
            readings = read_path(split(head.target).path).split
        except Refused as refused:
            explanation.add_step("Path", "refused on every route")
            explained = explanation.refused(refused.refusal)
            return self._suspended(explained, head, Verdict(refused.refusal))
        route = self._table.route_of(readings[0], lenient=False)
        if route is not None:
            where = f", to {route.settings.upstream}" if within is None else ""
            mode = ["It is in shadow mode, so it forwards every request."] if route.in_shadow_mode else []
            explanation.add_step("Route", f'"{route.name}"{where}', *mode)
            explanation.add_step("Sites", *describe_sites(route, self._settings.keys, head))

        try:
            verdict, owners = await self._judge(head, request, connect, within)
        except (NotFound, EmbeddedServerFailed, ServerBinariesMissing) as error:
            return explanation.undecided(str(error))
        except DATABASE_FAILURES as error:
            return explanation.undecided(f"The database does not answer ({describe_connecting(error)}).")
        claim = verdict.claim
        if verdict.grant is not None:
            explanation.add_step("Key", describe_grant(verdict.grant, within))
        if verdict.refusal is NETWORK_NOT_ALLOWED and request.address is None:
            return explanation.undecided("The API user is limited to networks. Give the client's address.")
        if verdict.refusal is not None or claim is None:
            refusal = verdict.refusal or INTERNAL_ERROR
            explained = explanation.refused(refusal, *describe_refusal(verdict, owners, within))
            return self._suspended(explained, head, verdict)
        if claim.preflight:
            return explanation.passes(
                "this is a CORS preflight. Sitelatch answers it itself, because the route has `cors`."
            )
        if claim.open:
            return explanation.passes(
                "no key is needed, because the endpoint is public or the route forwards preflights."
            )
        if verdict.grant is not None and (limits := describe_limits(verdict.grant, claim.route, within)):
            explanation.add_step("Limit", *limits)
        explanation.add_step("Forwarded", *describe_forwarded(claim, verdict, within))
        return explanation.passes(
            "the key's scope covers every named site." if claim.sites else "the route needs no site here."
        )

    def _suspended(self, explained: Explained, head: Head, verdict: Verdict) -> Explained:
        """Add what shadow mode does with a request that is refused."""
        route = shadowed_route(self._table, head, verdict)
        if route is None:
            return explained
        hint = (
            f'The route "{route.name}" is in shadow mode, so the request is forwarded all the same, with its key and '
            "without identity headers."
        )
        return replace(explained, hints=(*explained.hints, hint))

    def _received(self, request: ExplainedRequest, given: Fields) -> Head:
        """Return the head as the front door reads it from a client's bytes. Raises Refused."""
        limits, proxy, table = self._settings.limits, self._settings.proxy, self._table
        lines = [b"%b %b HTTP/1.1" % (request.method, request.target), *(b"%b: %b" % field for field in given)]
        raw, rest = RequestReader(limits, table.methods).read(b"\r\n".join(lines) + b"\r\n\r\n")
        if raw is None or rest or (raw.method, raw.target) != (request.method, request.target):
            raise Refused(REQUEST_LINE)
        hop = clean_request(
            raw,
            spellings=RequestSpellings(proxy.header_underscores, proxy.drop_headers),
            trusted=False,
            judged=table.judged_names,
            trailer_bytes=limits.head_bytes,
            needs_host=table.reads_hosts,
        )
        return hop.head

    async def _judge(
        self, head: Head, request: ExplainedRequest, connect: Connect, within: WorkspaceLimit
    ) -> tuple[Verdict, Mapping[str, SiteOwner]]:
        """Return the verdict, and the owners of the named sites if the database was queried.

        The key is added only if the request needs one, because a preflight with a key would be a different request.
        """
        without_key = self._enforcement(NothingCached()).judge(head)
        is_anonymous = request.user_id is None and request.key is None
        if isinstance(without_key, Verdict) and (is_anonymous or without_key.refusal not in (MISSING_KEY, INVALID_KEY)):
            return without_key, {}
        route = without_key.claim.route if without_key.claim is not None else self._table.routes[0]
        async with connect() as pool:
            grants = GrantCache(self._settings.grants, pool, on_lookup=lambda _: None)
            source: GrantSource = grants
            key = request.key or b""
            if request.user_id:
                source = UserScope(grants, await _grant_of(request.user_id, pool, within))
                key = new_key().encode()  # a substitute, because only the digest of the user's own key is stored
            try:
                enforcement = self._enforcement(source)
                judged = enforcement.judge(_with_key(head, route, key))
                address = request.address or "unknown"
                verdict = await enforcement.judge_slowly(judged, address) if isinstance(judged, Pending) else judged
            finally:
                await grants.close()
            return verdict, await self._owners(pool, verdict.claim.sites if verdict.claim is not None else ())

    def _enforcement(self, source: GrantSource) -> Enforcement:
        """Return an enforcement that records nothing, because explaining a decision does not use the key."""
        accept_foreign = self._settings.keys.accept_foreign
        return Enforcement(self._table, source, Metrics(), on_use=lambda _: None, accept_foreign=accept_foreign)

    async def _owners(self, pool: asyncpg.Pool, sites: Iterable[str]) -> dict[str, SiteOwner]:
        # PostgreSQL cannot store some strings, such as those with a NUL, so they cannot be site ids.
        table = ScopeTable(pool, self._settings.grants.lookup_seconds)
        return await table.find_sites([site for site in sites if is_text(site)])


async def _grant_of(user_id: str, pool: asyncpg.Pool, within: WorkspaceLimit) -> Grant | Unknown:
    """Return the scope of an API user's keys. Raises NotFound if there is no such user."""
    async with pool.acquire(timeout=CONNECTION_SECONDS) as connection:
        user = await get_user(connection, user_id, within=within)
    if not user.keys:
        return UNKNOWN
    ends = [key.expires_at.timestamp() if key.expires_at else math.inf for key in user.keys]
    end = min(max(ends), user.expires_at.timestamp() if user.expires_at else math.inf)
    return Grant(
        user_id=user.id,
        workspace=user.workspace,
        all_sites=user.all_sites,
        sites=frozenset(user.sites),
        expires_at=None if end == math.inf else end,
        disabled=user.disabled,
        methods=None if user.methods is None else frozenset(method.encode() for method in user.methods),
        networks=None if user.networks is None else tuple(map(read_network, user.networks)),
        limits=read_limits(user.requests_per_second, user.burst, user.requests_per_day),
    )


def _with_key(head: Head, route: Route, key: bytes) -> Head:
    """Return the head with the key in the route's first key location."""
    if not key:
        return head
    example = route.key_reader.locations[0].example()
    target, fields = head.target, head.fields
    if example.parameter is not None:
        name, value = example.parameter
        target += (b"&" if b"?" in target else b"?") + name.encode() + b"=" + with_key(value, key)
    if example.header is not None:
        name, value = example.header
        fields = [*fields, (name.encode(), with_key(value, key))]
    return replace(head, target=target, fields=fields)
