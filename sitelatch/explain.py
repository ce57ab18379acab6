"""What would be decided on a request, step by step, in words. Each step is taken by the code of the doors itself."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import asyncpg

from admin.api.users import get_user
from admin.text_rules import is_text
from proxy.decision.api_keys import new_key
from proxy.decision.decide import decide
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.routes import Claim, Route, RouteTable
from proxy.decision.site_ids import folded_part
from proxy.decision.site_rules import NO_SITE
from proxy.decision.target import read_path, split
from proxy.decision.verdict import Answers
from proxy.enforcement import Enforcement, GrantSource, Pending, Verdict
from proxy.grants.cache import UNKNOWN, Grants, Unknown
from proxy.grants.scope_table import ScopeTable
from proxy.http.headers import Fields, Head
from proxy.http.hop_by_hop import clean_request
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.observe.metrics import Metrics
from proxy.refusals import BAD_REQUEST, INTERNAL_ERROR, INVALID_KEY, MISSING_KEY, Refusal, Refused
from proxy.settings import HeaderRule, LimitSettings, QueryRule
from sitelatch.config import Config
from sitelatch.database import database_url
from sitelatch.explain_sources import NothingCached, UserScope
from sql.pool import open_pool

_WHY = {
    "ambiguous_key": "(explain adds the key itself: leave it out of --header.)",
    "bad_connection_header": "What `Connection` lists is removed on the way, and this has to arrive.",
    "endpoint_refused": "The route's `refuse` lists it.",
    "form_body_not_read": 'Set form_body = "pass" if the backend does not merge form bodies into the query.',
    "invalid_key": "No API user has this key: it was mistyped, or its user was deleted or disabled.",
    "method_not_allowed": "The route's `methods` lists the methods that are forwarded.",
    "missing_key": "None of the route's key locations holds a key.",
    "no_route": "No [[proxy.routes]] table has a `path` that this path begins with.",
    "preflight_refused": "Preflights carry no key. If pages of other origins come here, list them: "
    'cors = { origins = ["https://app.example"] }.',
    "second_resource": 'Set second_resource = "pass" on the route if its backend ignores such headers.',
    "site_missing": 'Name one by a rule of the route, or set without_site = "any-key" if it shows no site\'s data.',
}
"""What helps a deployer besides the public sentence."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and who makes it: an API user by id, or whoever has `key`."""

    method: bytes
    target: bytes
    fields: Fields
    user_id: str | None = None
    key: bytes | None = field(default=None, repr=False)


class _Told:
    """The explanation as far as it is told: numbered steps, then the verdict."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._steps = 0

    def step(self, title: str, *said: str) -> None:
        self._steps += 1
        self._lines.append(f"{self._steps}. {title}: {said[0]}")
        self._lines.extend(f"   {line}" for line in said[1:])

    def refused(self, refusal: Refusal, *because: str) -> str:
        why = (_WHY[refusal.code],) if refusal.code in _WHY and not because else ()
        return self._end(f"REFUSED: {refusal.status} {refusal.code}. {refusal.detail}", *because, *why)

    def passes(self, because: str) -> str:
        return self._end(f"PASSES: {because}")

    def _end(self, *said: str) -> str:
        return "\n".join([*self._lines, "", *said])


async def explain(config: Config, question: Question) -> str:
    """Return the explanation. Raises NotFound for an unknown user, and what the database raises."""
    told = _Told()
    table = RouteTable(config.proxy.routes, config.keys)
    method = question.method
    given = question.fields
    if not any(name.lower() == b"host" for name, _ in given):
        given = [(b"Host", config.proxy.listen.encode()), *given]
    try:
        hop = clean_request(
            Head(method, question.target, _read(question, given, config.limits, table.methods)),
            spellings=RequestSpellings(config.proxy.header_underscores, config.proxy.drop_headers),
            trusted=False,
            judged=table.judged_names,
            trailer_bytes=config.limits.head_bytes,
        )
    except Refused as refused:
        return told.refused(refused.refusal)
    head = hop.head
    told.step("The head", *_tell_removed(given, head.fields))

    try:
        readings = read_path(split(head.target).path).split
    except Refused as refused:
        told.step("The path", "it is the path that is refused, before any route is looked for")
        return told.refused(refused.refusal)
    route = next((route for route in table.routes if route.holds(readings[0], lenient=False)), None)
    if route is not None:
        told.step("The route", f'"{route.name}", before {route.settings.upstream}')
        told.step("The sites", *_tell_sites(route, config, head))

    verdict, owners = await _judge(config, table, head, question)
    claim = verdict.claim
    if verdict.grant is not None:
        told.step("The key", *_tell_grant(verdict.grant))
    if verdict.refusal is not None or claim is None:
        return told.refused(verdict.refusal or INTERNAL_ERROR, *_tell_refusal(verdict, owners))
    if claim.preflight:
        return told.passes("this is a CORS preflight, and Sitelatch answers it itself, as the route's `cors` says.")
    if claim.open:
        return told.passes("this needs no key: the route lists it as public, or it is a preflight and may pass.")
    told.step("What is sent on", *_tell_sent(claim, method, verdict.identity))
    return told.passes("every named site is in the key's scope." if claim.sites else "the route asks for no site here.")


async def _judge(
    config: Config, table: RouteTable, head: Head, question: Question
) -> tuple[Verdict, Mapping[str, SiteOwner]]:
    """Have the doors' own enforcement judge, and return the owners of the named sites if the database was asked.

    The key is added only if the request needs one: a preflight with a key would be another request.
    """
    without_key = _enforcement(config, table, NothingCached()).judge(head)
    if isinstance(without_key, Verdict) and without_key.refusal not in (MISSING_KEY, INVALID_KEY):
        return without_key, {}
    route = without_key.claim.route if without_key.claim is not None else table.routes[0]
    async with (
        database_url(config.admin_database, config.directory) as url,
        await open_pool(url, role="command") as pool,
    ):
        grants = Grants(config.grants, pool, on_lookup=lambda _: None)
        source: GrantSource = grants
        key = question.key or b""
        if question.user_id:
            source = UserScope(grants, await _grant_of(question.user_id, pool))
            key = new_key().encode()  # nobody knows the user's own
        try:
            enforcement = _enforcement(config, table, source)
            judged = enforcement.judge(_with_key(head, route, config, key))
            verdict = await enforcement.judge_slowly(judged, "explain") if isinstance(judged, Pending) else judged
        finally:
            await grants.close()
        return verdict, await _owners(config, pool, verdict.claim.sites if verdict.claim is not None else ())


def _enforcement(config: Config, table: RouteTable, source: GrantSource) -> Enforcement:
    """Return an enforcement that counts nothing: to explain a decision is no use of a key."""
    return Enforcement(table, source, Metrics(), on_use=lambda _: None, accept_foreign=config.keys.accept_foreign)


def _read(question: Question, fields: Fields, limits: LimitSettings, methods: frozenset[bytes]) -> Fields:
    """Return the fields as the front door reads them from a client's bytes. Raises Refused."""
    lines = [b"%b %b HTTP/1.1" % (question.method, question.target), *(b"%b: %b" % field for field in fields)]
    raw, rest = RequestReader(limits, methods).read(b"\r\n".join(lines) + b"\r\n\r\n")
    if raw is None or rest or (raw.method, raw.target) != (question.method, question.target):
        raise Refused(BAD_REQUEST)
    return raw.fields


async def _owners(config: Config, pool: asyncpg.Pool, sites: Iterable[str]) -> dict[str, SiteOwner]:
    # What is no text to the database is nobody's.
    return await ScopeTable(pool, config.grants.lookup_seconds).find_sites([site for site in sites if is_text(site)])


async def _grant_of(user_id: str, pool: asyncpg.Pool) -> Grant | Unknown:
    """Return what any key of an API user may reach. Raises NotFound."""
    async with pool.acquire() as connection:
        user = await get_user(connection, user_id)
    ends = [key.expires_at.timestamp() if key.expires_at else None for key in user.keys]
    if not ends or user.disabled_at is not None:
        return UNKNOWN
    return Grant(
        user_id=user.id,
        workspace=user.workspace,
        all_sites=user.all_sites,
        sites=frozenset(user.sites),
        expires_at=None if None in ends else max(end for end in ends if end is not None),
    )


def _with_key(head: Head, route: Route, config: Config, key: bytes) -> Head:
    """Return the head with the key in the first place where the route looks."""
    if not key:
        return head
    place, _, name = (route.settings.keys_from or config.keys.from_)[0].partition(":")
    target, fields = head.target, head.fields
    if place == "query":
        target += (b"&" if b"?" in target else b"?") + name.encode() + b"=" + key
    elif place == "cookie":
        fields = [*fields, (b"Cookie", name.encode() + b"=" + key)]
    elif place == "header":
        fields = [*fields, (name.encode(), key)]
    elif place == "basic":
        fields = [*fields, (b"Authorization", b"Basic " + base64.b64encode(key + b":"))]
    else:
        fields = [*fields, (b"Authorization", b"Bearer " + key)]
    return Head(head.method, target, fields, head.has_body, head.dropped)


def _tell_removed(given: Fields, kept: Fields) -> list[str]:
    changed = [name for name, value in given if (name, value) not in kept]
    removed = [name.decode("latin-1") for name in changed if name.lower() != b"host"]
    dot = ["Host is forwarded without its final dot."] if len(removed) < len(changed) else []
    if not removed:
        return ["well-formed, and all of it is forwarded.", *dot]
    why = "for this hop, set by Sitelatch, or never forwarded"
    return [f"well-formed. Not forwarded ({why}): {', '.join(removed)}.", *dot]


_ANYTHING_GOES = {
    "without_site": "any-key",
    "public": (),
    "refuse": (),
    "form_body": "pass",
    "preflight": "pass",
    "cors": None,
    "second_resource": "pass",
    "cookies": "ignore",
}
"""Options with which a route judges nothing but its site rules."""


def _tell_sites(route: Route, config: Config, head: Head) -> list[str]:
    """Say which rule names what: each is asked alone, as a route of its own."""
    said = []
    named_by_path = False
    for rule in route.settings.sites:
        is_path = isinstance(rule, str) and rule.startswith("path:")
        if is_path and named_by_path:
            continue  # the first path rule that matches is the one that counts
        options = {**_ANYTHING_GOES, "methods": (head.method.decode("latin-1"),), "sites": (rule,)}
        claim = Claim(RouteTable([route.settings.model_copy(update=options)], config.keys), head)
        verdict = decide(claim, Answers(accept_foreign=True), 0)
        if isinstance(verdict, Verdict) and verdict.refusal not in (None, MISSING_KEY):
            said.append(f"{_text_of(rule)}: {verdict.refusal.detail} ({verdict.refusal.code})")
            continue
        named = claim.named
        if named.every_site:
            said.append(f"{_text_of(rule)} names all sites")
        elif named.sites:
            said.append(f"{_text_of(rule)} names {_either(named.sites, claim.form.sites if claim.form else ())}")
        if named.others or named.others_every_site:
            what = "all sites" if named.others_every_site else _either(named.others, ())
            said.append(
                f"{_text_of(rule)} names {what}, on a path that is not one of its `paths`: that proves nothing here, "
                "and must be in the key's scope all the same"
            )
        named_by_path = named_by_path or (is_path and bool(named.sites))
    if said:
        return said if len(said) == 1 else ["named in more than one place", *said]
    rules = ", ".join(map(_text_of, route.settings.sites)) or "none"
    return [f"none is named. The route's rules: {rules}. Without a site: {route.settings.without_site}."]


def _either(sites: Iterable[str], form: Iterable[str]) -> str:
    """Say which sites are named."""
    literal, with_spaces = (", ".join(map(_shown, each)) for each in (sites, form))
    if not with_spaces:
        return literal
    return f"{literal}, or {with_spaces} if `+` is a space: the key's scope decides"


def _id_of(name: str) -> str:
    """Return the id that a name stands for."""
    return name.removeprefix(NO_SITE) if name.startswith(NO_SITE) else folded_part(name) or name


def _shown(name: str) -> str:
    """Return the id that a name stands for, escaped if it holds control characters."""
    site = _id_of(name)
    return site if site.isprintable() else repr(site)


def _text_of(rule: str | QueryRule | HeaderRule) -> str:
    if isinstance(rule, str):
        return rule
    where = f" on {', '.join(rule.paths)}" if rule.paths is not None else ""
    return f"query:{rule.query}{where}" if isinstance(rule, QueryRule) else f"header:{rule.header}{where}"


def _tell_grant(grant: Grant) -> list[str]:
    scope = "all its sites" if grant.all_sites else ", ".join(sorted(grant.sites)) or "no site any more"
    return [f"API user {grant.user_id} of workspace {grant.workspace}, for {scope}."]


def _tell_refusal(verdict: Verdict, workspaces: Mapping[str, SiteOwner]) -> list[str]:
    """Say what the public sentence may not: whether a site exists, and whose it is."""
    refusal, claim, grant = verdict.refusal, verdict.claim, verdict.grant
    if refusal is None or claim is None or grant is None:
        return []
    if refusal.code == "all_sites_needed":
        return [f"The route asks for all sites of workspace {claim.route.settings.workspace}."]
    if refusal.code != "site_not_allowed":
        return []
    said = []
    for site in claim.sites:
        owner = workspaces.get(site)
        if owner is None:
            said.append(f"There is no site {_id_of(site)!r}.")
        elif owner.workspace != grant.workspace:
            said.append(f"The site {owner.id!r} is of workspace {owner.workspace}.")
        elif not grant.all_sites and owner.id not in grant.sites:
            said.append(f"The site {owner.id!r} is not among the key's.")
    return said


def _tell_sent(claim: Claim, method: bytes, identity: bytes) -> list[str]:
    line = b"%b %b to %b" % (method, claim.target, claim.route.settings.upstream.encode())
    added = [f"with {added}" for added in identity.decode().splitlines()]
    key = "with the key, as forward_key says" if claim.route.settings.forward_key else "without the key"
    return [line.decode(errors="backslashreplace"), *added, key]
