"""Reads the sites that a request names, and refuses requests whose readings differ. No I/O."""

from proxy.decision.claim import Claim
from proxy.decision.named_sites import Named, TwoReadings, combined
from proxy.decision.noticed_headers import SITE_HEADER
from proxy.decision.parameter_finder import Found
from proxy.decision.path_facts import PathFacts
from proxy.decision.queries import OnlyParameter, Query
from proxy.decision.value_readings import LONG_VALUE, is_deep
from proxy.decision.work import check_work, found_work, head_work
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_MAX_COOKIES = 16
"""The maximum number of cookies in one request with the name of a site parameter."""

_TOO_MANY_COOKIES = AMBIGUOUS_REQUEST.because(
    f"More than {_MAX_COOKIES} cookies have the name of a query parameter that names the site. Send no cookie with "
    "such a name."
)

_COOKIE_REFUSED = AMBIGUOUS_REQUEST.because(
    "A cookie has the name of a query parameter that this route refuses, and some servers read cookies as parameters. "
    "Send no cookie with such a name."
)


def name_sites(claim: Claim, facts: PathFacts, noticed: int, query: Query | None, only: OnlyParameter) -> None:
    """Set the sites that the claim names. Raises Refused if readings differ.

    `only` is the only wanted parameter of a plain query.
    """
    head = claim.head
    if not claim.route.always_reads_sites and (query is None or not query.splits):
        # Shortcuts for requests that name one site in plain form.
        if only and not noticed & SITE_HEADER:
            claim.named = facts.named.with_site(only[1].decode("ascii"))
            return
        if not only and facts.plain_header is not None and not head.dropped:
            claim.named = facts.named.with_site(facts.plain_header.site_in(claim.fields))
            return
    by_query: TwoReadings | None = None
    elsewhere: TwoReadings | None = None
    by_header: Named | None = None
    if query is not None and query.splits:
        by_query = TwoReadings()
        for rule, in_scope in facts.queries:
            if rule.name not in query.meant:
                continue
            if in_scope is None:
                raise Refused(facts.scope_differs)
            if in_scope:
                rule.read(query, by_query)
            else:
                elsewhere = elsewhere or TwoReadings()
                rule.read_leniently(query, elsewhere)
    elif only:
        by_query = TwoReadings()
        by_query.add(Named({only[1].decode("ascii"): None}))
    for header_rule, in_scope in facts.headers:
        named = header_rule.read(claim.fields, head.dropped)
        if named is None:
            continue
        if in_scope is None:
            raise Refused(facts.scope_differs)
        if in_scope:
            by_header = named if by_header is None else by_header.with_more(named)
        else:
            elsewhere = elsewhere or TwoReadings()
            elsewhere.add(named.without_empty())
    for host_rule in claim.route.site_rules.hosts:
        by_header = by_header or Named.none()
        host_rule.read(claim.fields, by_header)
    claim.named = combined(
        facts.named,
        by_query.literal if by_query is not None else None,
        by_header,
        elsewhere.literal if elsewhere is not None else None,
    )
    if (by_query is not None and by_query.differ) or (elsewhere is not None and elsewhere.differ):
        claim.plus_as_space = combined(
            facts.named,
            by_query.form if by_query is not None else None,
            by_header,
            elsewhere.form if elsewhere is not None else None,
        )


def check_cookies(claim: Claim, facts: PathFacts, work: int) -> None:
    """Raise Refused if a cookie names a site that the request does not name, or has the name of a refused parameter.

    PHP and Zope merge cookies and parameters.

    Outside the paths of its rule, the key must cover the sites that a cookie names. `work` is the work that the head
    takes otherwise, or 0 if it is not known.
    """
    route = claim.route
    lines, raw, found = _found_cookies(claim)
    if not found:
        return
    # PHP joins several Cookie headers with a comma, so the second header becomes part of the value before it.
    if len(lines) > 1:
        raise Refused(route.several_cookies)
    if len(found) > _MAX_COOKIES:
        raise Refused(_TOO_MANY_COOKIES)
    values = [raw[end:].partition(b";")[0].removeprefix(b"=").strip(b' \t"') for _, end, _ in found]
    odd_names = sum([b"%" in raw[start:end] for start, end, _ in found])
    # A longer value that is encoded twice is refused, so it has no further readings.
    is_encoded_twice = is_deep(b"\n".join([value for value in values if len(value) <= LONG_VALUE]))
    check_work((work or head_work(claim.head)) + found_work(values, deep=is_encoded_twice, odd_names=odd_names))
    allowed = Named(dict.fromkeys(claim.sites), claim.named.every_site)
    elsewhere = Named.none()
    for (_, _, meant), value in zip(found, values, strict=True):
        for rule, in_scope in facts.queries:
            if rule.name not in meant:
                continue
            named = rule.named_in_any_reading(value)
            if in_scope is False:
                elsewhere.add(named)
            elif not named.is_within(allowed):
                raise Refused(rule.cookie_differs)
    if elsewhere:
        claim.named = claim.named.with_others(elsewhere)
        claim.plus_as_space = claim.plus_as_space and claim.plus_as_space.with_others(elsewhere)


def refuse_cookies(claim: Claim) -> None:
    """Raise Refused if a cookie has the name of a parameter that `refuse` lists."""
    _found_cookies(claim)


def _found_cookies(claim: Claim) -> tuple[list[bytes], bytes, list[Found]]:
    """Return the Cookie headers, all cookies, and those with the name of a site parameter.

    Raises Refused as `refuse_cookies` does.
    """
    route = claim.route
    finder = route.cookies
    assert finder is not None  # noqa: S101 - for the type checker
    lines = [value for name, value in claim.fields if name.lower() == b"cookie"]
    raw = b";".join(lines)
    if finder.is_silent(raw):
        return lines, raw, []
    found = finder.find(finder.split(raw))
    if not all(route.refused_names.isdisjoint(each.meant) for each in found):
        raise Refused(_COOKIE_REFUSED)
    return lines, raw, found
