"""The decision: the specification of which requests pass. docs/decision.md explains each rule with examples. No I/O.

`decide` checks the request itself first, then the key, then the sites. Cheap checks come first. A request that would be
refused with any key causes no lookup.
"""

from typing import Literal

from proxy.decision.api_keys import well_formed
from proxy.decision.claim import Claim
from proxy.decision.content_types import form_may_name, refuse_charset, refuse_form_body
from proxy.decision.grant import Grant
from proxy.decision.method_override import NO_METHODS, overriding_methods, overriding_methods_in
from proxy.decision.named_sites import Candidate
from proxy.decision.networks import contains
from proxy.decision.noticed_headers import CONTENT_TYPE, COOKIE, OVERRIDE, SECOND_RESOURCE, SITE_HEADER
from proxy.decision.plain_claims import claim_plainly
from proxy.decision.queries import OnlyParameter, Query
from proxy.decision.request_sites import check_cookies, name_sites, refuse_cookies
from proxy.decision.second_resource import COPYING, names_second_resource
from proxy.decision.steering_parameters import refuse_parameters_that_steer
from proxy.decision.target import split
from proxy.decision.verdict import Known, Lookup, NoGrant, Owners, Verdict
from proxy.decision.work import (
    FEW_SITES,
    LONG_TARGET,
    MANY_FIELDS,
    check_work,
    head_work,
    sites_work,
)
from proxy.http.cors import is_preflight
from proxy.refusals import (
    ALL_SITES_NEEDED,
    DISABLED_KEY,
    ENDPOINT_REFUSED,
    EXPIRED_KEY,
    INVALID_KEY,
    MALFORMED_KEY,
    METHOD_NOT_GRANTED,
    NETWORK_NOT_ALLOWED,
    OVERRIDE_NOT_GRANTED,
    PREFLIGHT_REFUSED,
    SCOPE_UNAVAILABLE,
    SITE_NOT_ALLOWED,
    TOO_MANY_UNKNOWN_KEYS,
    WEBSOCKET_NOT_GRANTED,
    Refused,
)
from proxy.refusals import (
    SECOND_RESOURCE as SECOND_RESOURCE_REFUSED,
)


def decide(claim: Claim, known: Known, now: float) -> Verdict | Lookup:
    """Decide whether a request passes. Return the verdict, or the lookup that is needed first.

    After the lookup, call this again with the same claim: steps 1 to 15 are not repeated. `now` is in seconds since the
    epoch. The comment at each step lists its refusals.
    """
    if not claim.passes_by_itself:
        claim_plainly(claim)  # a shortcut for steps 1 to 15, which most requests can take
    # The claim that a refusal reports: None until step 2 has found a route.
    located = claim if claim.passes_by_itself else None
    grant: Grant | None = None
    try:
        if not claim.passes_by_itself:
            head = claim.head
            method = head.method

            # 1. Work: the head is not too expensive to check. Small, plain heads skip this step.
            #    400 ambiguous_request
            work = 0
            if max(head.received, len(head.fields)) > MANY_FIELDS or len(head.target) > LONG_TARGET:
                work = head_work(head)
                check_work(work)

            # 2. Route: the first route whose `path` is a prefix of the request's path. All readings must agree on it.
            #    400 bad_request, 400 ambiguous_request, 404 no_route
            facts = claim.table.locate(split(head.target).path, work)
            route = claim.route = facts.route
            settings = route.settings
            located = claim
            if facts.work:
                work = (work or head_work(head)) + facts.work
                check_work(work)

            # 3. One key: all key locations together have at most one value. The key is removed from the forwarded head.
            #    400 ambiguous_key, 400 ambiguous_request
            #    `noticed` has a bit for each kind of header that a later step reads.
            if settings.drop_headers:
                head = head.with_fields(route.drop_headers.remaining(head.fields))
            claim.key, claim.target, claim.fields, noticed, pieces = route.key_reader.read(head, work)
            if settings.forward_key:
                claim.target, claim.fields = head.target, head.fields
            if head.dropped:
                noticed |= SITE_HEADER  # a dropped header may look like one that names a site

            # 4. Answered preflights: on a route with `cors`, Sitelatch answers a CORS preflight itself.
            if route.cors is not None and method == b"OPTIONS" and is_preflight(claim.fields):
                claim.open = claim.preflight = True
                return Verdict(None, claim)

            # 5. Parameters: their number and the depth of their encoding are within bounds.
            #    400 bad_request, 400 ambiguous_request
            raw_query = claim.target.partition(b"?")[2]
            query: Query | None = None
            only: OnlyParameter = None
            if raw_query:
                # In a plain query, `glance` finds the only wanted parameter, or none, so no full parsing is needed.
                only = route.parameters.glance(raw_query)
                if only is None or (only and only[0] not in facts.plain_queries):
                    parameters = route.parameters
                    if pieces is None or pieces.raw != raw_query:
                        pieces = parameters.split(raw_query, work)
                    query, only = Query(pieces, parameters), None
                    if query.splits:
                        work = (work or head_work(head)) + query.work
                        check_work(work)
            query_methods = NO_METHODS if query is None else overriding_methods_in(query)

            # 6. Method: the route's `methods` lists it.
            #    405 method_not_allowed
            if method not in route.methods:
                raise Refused(route.method_not_allowed)

            # 7. One reading: every reading of the path names the same site, and nothing in the request makes a backend
            #    decode the query differently or use another path.
            #    400 ambiguous_request
            if facts.refusal is not None:
                raise Refused(facts.refusal)
            if raw_query and noticed & CONTENT_TYPE:
                refuse_charset(claim.fields, raw_query)
            if query is not None:
                refuse_parameters_that_steer(query)

            # 8. Second resource: no header names another resource, such as the source of a copy.
            #    400 second_resource
            if (
                noticed & SECOND_RESOURCE
                and settings.second_resource == "refuse"
                and names_second_resource(claim.fields, copies=not COPYING.isdisjoint(route.methods))
            ):
                raise Refused(SECOND_RESOURCE_REFUSED)

            # 9. Method overrides: `methods` lists each method that a header or parameter asks for. A public request is
            #    forwarded without these headers, so they do not count there.
            #    405 method_not_allowed
            public = method in facts.public and not query_methods
            overriding = query_methods
            if noticed & OVERRIDE and not public:
                overriding = query_methods | overriding_methods(claim.fields)
            if overriding:
                claim.overriding = overriding
            if not overriding <= route.methods:
                raise Refused(route.override_not_allowed)

            # 10. Refused endpoints: `refuse` does not list the method and path, or a parameter of the query.
            #    403 endpoint_refused
            if facts.refused and facts.refuses({method, *overriding}):
                raise Refused(ENDPOINT_REFUSED)
            if query is not None and not route.refused_names.isdisjoint(query.meant):
                raise Refused(ENDPOINT_REFUSED)

            # 11. Public endpoints: requests that `public` lists pass without a key. If `refuse` lists other methods of
            #     the path, they pass only without a form body, because the body may name one of those methods. No
            #     cookie has the name of a parameter that `refuse` lists.
            #     400 ambiguous_request, 415 form_body_not_read
            if public:
                if noticed & COOKIE and route.refused_names:
                    refuse_cookies(claim)
                if facts.refused and head.has_body and settings.form_body != "pass":
                    refuse_form_body(method, claim.fields, settings.form_body)
                claim.pass_without_key()
                return Verdict(None, claim)

            # 12. Preflights: they carry no key, so the route's `preflight` decides. A request that asks for another
            #     method is not a preflight to the backend.
            #     403 preflight_refused
            if claim.key is None and method == b"OPTIONS" and not query_methods and is_preflight(claim.fields):
                if settings.preflight == "refuse":
                    raise Refused(PREFLIGHT_REFUSED)
                claim.pass_without_key()
                return Verdict(None, claim)

            # 13. Form bodies: there is none if a backend may take a site, a method or a refused parameter from it. 415
            # form_body_not_read
            if head.has_body and form_may_name(facts):
                refuse_form_body(method, claim.fields, settings.form_body)

            # 14. Named sites: every reading of the query, the headers, the host and the cookies names the same sites.
            #     If only the path can name a site, the rest is not read.
            #     400 ambiguous_request
            if noticed & SITE_HEADER or only or route.always_reads_sites or (query is not None and query.splits):
                name_sites(claim, facts, noticed, query, only)
            else:
                claim.named = facts.named
            if noticed & COOKIE:
                check_cookies(claim, facts, work)
            if len(claim.named.sites) > FEW_SITES or claim.named.others or claim.plus_as_space is not None:
                check_work((work or head_work(head)) + sites_work(claim.sites))

            # 15. No site: `without_site` decides whether that is refused, or asks for all sites of the workspace. A
            #     client without a key is told about the key first.
            #     403 site_missing
            if not (claim.named.sites or claim.named.every_site):
                if settings.without_site == "all-sites":
                    claim.name_every_site()
                elif settings.without_site == "refuse" and claim.key is not None:
                    raise Refused(route.site_missing)
            claim.passes_by_itself = True

        # 16. Missing key: from here on, a request needs one.
        #     401 missing_key
        key = claim.key
        if key is None:
            raise Refused(claim.route.key_reader.missing)

        # 17. Key format: a key with a wrong format or checksum is refused without a lookup. A remembered key has passed
        #     this check and the next.
        #     401 invalid_key
        grant = known.remembered(key)
        if grant is None:
            if not known.accept_foreign and not well_formed(key):
                raise Refused(MALFORMED_KEY)

            # 18. Known key: the scope table has the key. From here on, the client holds a real key.
            #     401 invalid_key, 429 too_many_unknown_keys, 503 scope_unavailable
            found = known.grant(key)
            if not isinstance(found, Grant):
                if found is NoGrant.NOT_LOOKED_UP:
                    return Lookup.GRANT
                if found is NoGrant.OVER_BUDGET:
                    raise Refused(TOO_MANY_UNKNOWN_KEYS)
                raise Refused(SCOPE_UNAVAILABLE if found is NoGrant.UNAVAILABLE else INVALID_KEY)
            grant = found

        # Steps 19 to 22 are in `_check_conditions`. Most keys have no conditions.
        if not grant.unconditional and _check_conditions(claim, grant, now) is Lookup.CLIENT_ADDRESS:
            return Lookup.CLIENT_ADDRESS

        # Steps 23 and 24 are in `_covered`, because they run twice for a request with two valid readings.
        owners: Owners = _NO_OWNERS
        if grant.all_sites and (sites := claim.sites):
            found_owners = known.owners(sites)
            if found_owners is None:
                return Lookup.SITE_OWNERS
            if found_owners is NoGrant.UNAVAILABLE:
                raise Refused(SCOPE_UNAVAILABLE)
            owners = found_owners
        if claim.plus_as_space is None:
            return Verdict(None, claim, grant, _covered(claim, claim.named, grant, owners))
        # A `+` may stand for a space. The grant decides which reading is meant. If this depended on which sites exist,
        # clients could find out which ones do.
        return Verdict(None, claim, grant, _covered_in_one_reading(claim, claim.plus_as_space, grant, owners))
    except Refused as refused:
        return Verdict(refused.refusal, located, grant)


def _check_conditions(claim: Claim, grant: Grant, now: float) -> Literal[Lookup.CLIENT_ADDRESS] | None:
    """Raise Refused if the key may not be used now, from this address or with this method."""
    # 19. Disabled: the API user is not disabled.
    #     401 disabled_key
    if grant.disabled:
        raise Refused(DISABLED_KEY)

    # 20. Expiry: neither the key nor its API user has expired.
    #     401 expired_key
    if grant.expires_at is not None and grant.expires_at <= now:
        raise Refused(EXPIRED_KEY)

    # 21. Network: the client's address is in one of the key's `networks`. Behind trusted proxies, it is the address
    #     that they report.
    #     403 network_not_allowed
    if grant.networks is not None:
        if claim.address is None:
            return Lookup.CLIENT_ADDRESS
        if not contains(grant.networks, claim.address):
            raise Refused(NETWORK_NOT_ALLOWED)

    # 22. Method of the key: the key's `methods` lists the method, and each method that a header or parameter asks for.
    #     There is no form body, because it may ask for a method too, and no WebSocket, whose messages have no method.
    #     403 method_not_granted, 415 form_body_not_read
    if grant.methods is not None:
        head = claim.head
        if head.method not in grant.methods:
            raise Refused(METHOD_NOT_GRANTED)
        if not claim.overriding <= grant.methods:
            raise Refused(OVERRIDE_NOT_GRANTED)
        if head.websocket:
            raise Refused(WEBSOCKET_NOT_GRANTED)
        form_body = claim.route.settings.form_body
        if head.has_body and form_body != "pass":
            refuse_form_body(head.method, claim.fields, form_body)
    return None


def _covered(claim: Claim, named: Candidate, grant: Grant, owners: Owners) -> tuple[str, ...]:
    """Return the ids of the named sites. Raises Refused unless the grant covers everything that is named."""
    # 23. All sites: a request for all sites needs a key for all sites of the route's workspace. The backend does not
    #     know about workspaces, so its response covers all of its data.
    #     403 all_sites_needed
    if (named.every_site or named.others_every_site) and not (
        grant.all_sites and grant.workspace == claim.route.settings.workspace
    ):
        raise Refused(ALL_SITES_NEEDED)
    # 24. Each named site: the grant covers it. For an all-sites grant, its workspace owns the site. If the site can be
    #     read in two ways, the grant covers exactly one of them.
    #     400 ambiguous_request, 403 site_not_allowed, 503 scope_unavailable
    sites = named.sites
    if not grant.all_sites and not named.others and grant.sites.issuperset(sites):
        return sites
    for site in named.others:
        _granted(site, grant, owners)
    return tuple(dict.fromkeys([_granted(site, grant, owners) for site in sites]))


def _granted(site: str, grant: Grant, owners: Owners) -> str:
    """Return the id of a named site. Raises Refused unless it is granted.

    The refusal is the same whether the site exists or not, so that clients cannot find out which sites exist.
    """
    if grant.all_sites:
        owner = owners.get(site)
        if owner is not None and owner.workspace == grant.workspace:
            return owner.id
    elif (granted := grant.site_called(site)) is not None:
        return granted
    raise Refused(SITE_NOT_ALLOWED)


def refused_site(claim: Claim, grant: Grant, owners: Owners) -> str | None:
    """Return the name of the first named site that a grant does not cover, or None."""
    for site in (*claim.named.others, *claim.named.sites):
        try:
            _granted(site, grant, owners)
        except Refused:
            return site
    return None


def _covered_in_one_reading(claim: Claim, form: Candidate, grant: Grant, owners: Owners) -> tuple[str, ...]:
    """Return the ids of the sites in the one reading that the grant covers, and narrow the claim to that reading.

    The claim stays narrowed, so that a recheck of an open exchange judges the sites that it was admitted for.
    """
    covered: list[tuple[Candidate, tuple[str, ...]]] = []
    refused: Refused | None = None
    for named in (claim.named, form):
        try:
            covered.append((named, _covered(claim, named, grant, owners)))
        except Refused as reason:
            refused = reason
    if refused is not None and not covered:
        raise refused
    if len(covered) > 1:
        raise Refused(claim.route.plus_or_space)
    claim.named, sites = covered[0]
    claim.plus_as_space = None
    return sites


# 25. Limits: the API user has not exceeded its own limit, or else that of the route. `Enforcement` checks this after
#     `decide`, because it takes a token from each request that passes, and open exchanges take none.
#     429 rate_limited

_NO_OWNERS: Owners = {}
