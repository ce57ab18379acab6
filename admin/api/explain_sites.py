"""Finds out which site rules of a route name which sites in a request, for `explain`."""

from collections.abc import Sequence

from admin.api.explanation import listed_sites
from proxy.decision.claim import Claim
from proxy.decision.decide import decide
from proxy.decision.named_sites import Candidate
from proxy.decision.path_rules import PathSiteRule
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.decision.verdict import Answers, Verdict
from proxy.http.headers import Head
from proxy.refusals import MISSING_KEY
from proxy.settings import KeySettings

_NO_OTHER_RULES = {
    "without_site": "any-key",
    "public": (),
    "refuse": (),
    "form_body": "pass",
    "preflight": "pass",
    "cors": None,
    "second_resource": "pass",
    "cookies": "ignore",
}
"""Route options that turn off all checks except the site rules."""


def describe_sites(route: Route, keys: KeySettings, head: Head) -> list[str]:
    """Say what each site rule names. Each rule is tried alone, on a route of its own."""
    lines = []
    named_by_path = False
    for setting, rule in zip(route.settings.sites, route.site_rules.rules, strict=True):
        is_path = isinstance(rule, PathSiteRule)
        if is_path and named_by_path:
            continue  # only the first path rule that matches counts
        options = {**_NO_OTHER_RULES, "methods": (head.method.decode("latin-1"),), "sites": (setting,)}
        claim = Claim(RouteTable([route.settings.model_copy(update=options)], keys), head)
        verdict = decide(claim, Answers(accept_foreign=True), 0)
        if isinstance(verdict, Verdict) and verdict.refusal not in (None, MISSING_KEY):
            lines.append(f"{rule.written()}: {verdict.refusal.detail} ({verdict.refusal.code})")
            continue
        lines += [f"{rule.written()} {what}" for what in _named(claim.named, claim.plus_as_space)]
        named_by_path = named_by_path or (is_path and bool(claim.named.sites))
    if lines:
        return lines if len(lines) == 1 else ["named in several places", *lines]
    rules = ", ".join(rule.written() for rule in route.site_rules.rules) or "none"
    return [f"the request names no site. Site rules: {rules}. without_site: {route.settings.without_site}."]


def _named(named: Candidate, form: Candidate | None) -> list[str]:
    """Return the sites that a rule names, as phrases that follow the rule in a sentence."""
    found = []
    if named.every_site:
        found.append("names all sites")
    elif named.sites:
        found.append(f"names {_either(named.sites, form.sites if form else ())}")
    if named.others or named.others_every_site:
        what = "all sites" if named.others_every_site else listed_sites(named.others)
        found.append(
            f"names {what}, on a path that is not one of its `paths`. This does not count as naming a site, but the "
            "key's scope must contain it"
        )
    return found


def _either(literal: Sequence[str], form: Sequence[str]) -> str:
    if not form:
        return listed_sites(literal)
    return f"{listed_sites(literal)}, or {listed_sites(form)} if `+` is a space; the key's scope decides"
