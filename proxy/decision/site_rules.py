"""The kinds of site rules: how each reads sites, what its example is, and how it is described. No I/O.

To add a kind, add one class to SITE_RULES. `explain`, the admin page, the integrators' guide and the error messages get
everything from these classes. `form` is the notation of this kind of rule in the config, and `written()` is one rule in
that notation. `describe()` says where a request names the site. `example(root)` is an example of such a request on a
route whose path is `root`.
"""

from collections.abc import Iterable

from proxy.decision.header_rules import HeaderSiteRule
from proxy.decision.host_rules import HostSiteRule
from proxy.decision.path_rules import PathSiteRule
from proxy.decision.query_rules import QuerySiteRule
from proxy.settings import HeaderRule, QueryRule

SiteRule = PathSiteRule | QuerySiteRule | HeaderSiteRule | HostSiteRule
SITE_RULES: tuple[type[SiteRule], ...] = (PathSiteRule, QuerySiteRule, HeaderSiteRule, HostSiteRule)
"""Every kind of site rule."""


def site_rule(rule: str | QueryRule | HeaderRule) -> SiteRule:
    """Compile one entry of a route's `sites`. Raises ValueError, with a message that says how to correct the entry."""
    if isinstance(rule, QueryRule):
        return QuerySiteRule(rule)
    if isinstance(rule, HeaderRule):
        return HeaderSiteRule(rule)
    kind, _, rest = rule.partition(":")
    for compiled in SITE_RULES:
        if kind == compiled.form.partition(":")[0] and rest:
            return compiled.short(rest)
    forms = ", ".join(compiled.form for compiled in SITE_RULES)
    raise ValueError(f"{rule!r} is not a site rule: write one of {forms}")


class SiteRules:
    """All site rules of a route, in the order of the config, and grouped by the part of the request that they read."""

    __slots__ = ("headers", "hosts", "paths", "queries", "rules")

    def __init__(self, rules: Iterable[str | QueryRule | HeaderRule]) -> None:
        self.rules = [site_rule(rule) for rule in rules]
        self.paths = [rule for rule in self.rules if isinstance(rule, PathSiteRule)]
        self.queries = [rule for rule in self.rules if isinstance(rule, QuerySiteRule)]
        self.headers = [rule for rule in self.rules if isinstance(rule, HeaderSiteRule)]
        self.hosts = [rule for rule in self.rules if isinstance(rule, HostSiteRule)]

    def scopes_of(self, reading: str, lenient: bool) -> list[bool]:
        """Return, for each rule with `paths`, whether they include a reading of the path."""
        scopes = [rule.scope for rule in (*self.queries, *self.headers) if rule.scope is not None]
        return [scope.matches(reading, lenient=lenient) for scope in scopes]

    def site_in_path(self, reading: str, *, lenient: bool) -> str | None:
        """Return the site in a reading of the path, according to the first rule that matches, or None."""
        for rule in self.paths:
            site = rule.read(reading, lenient=lenient)
            if site is not None:
                return site
        return None


def listed(names: Iterable[str]) -> str:
    """Return names from the config as a list for people: `a`, `b`."""
    return ", ".join(f"`{name}`" for name in names)
