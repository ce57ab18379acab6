"""The rule sets of the generated requests. Each request belongs to one. The key is for the site `shop`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from proxy.decision.api_keys import new_key
from proxy.settings import DEFAULT_METHODS, RouteSettings
from tests.backends.door import Door

OWN, OTHER = "shop", "blog"

_OPEN = ("path:/api/sites/{site}/**", "query:site", "header:X-Site")
_SCOPED = (
    "path:/api/sites/{site}/**",
    {"query": "site", "paths": ["/api/query", "/api/export/**"]},
    {"header": "X-Site", "paths": ["/api/lookup"]},
)
_PATH = "path:/api/sites/{site}/**"
_TEMPLATES = ("eq.{site}", "in.({site})")
DOMAIN = "sites.example.com"
_HEADER_KEY = ("header:X-API-Key", "bearer")


@dataclass(frozen=True)
class RuleSet:
    """One route with its key locations and its allowed requests."""

    name: str
    sites: tuple[Any, ...] = _OPEN
    keys_from: tuple[str, ...] = _HEADER_KEY
    public: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    methods: tuple[str, ...] = DEFAULT_METHODS
    trusted: bool = False
    underscores: Literal["drop", "pass"] = "drop"
    scoped: bool = False
    """Whether rules state the paths on which the API reads them. Then paths without a rule must not be served."""
    parts: frozenset[str] = frozenset({"path", "query", "merged", "header"})
    """The parts of a request from which backends must read no other site."""
    reads_alike: bool = True
    """Whether every backend must read the site where a rule names it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the route."""

    def route(self, **overrides: Any) -> RouteSettings:
        """Return the settings of the route."""
        table = {
            "name": "data",
            "upstream": "http://127.0.0.1:9",
            "sites": list(self.sites),
            "public": list(self.public),
            "refuse": list(self.refuse),
            "methods": list(self.methods),
            **self.options,
            **overrides,
        }
        return RouteSettings.model_validate(table)

    def door(self, key: str, **overrides: Any) -> Door:
        """Return the front door of this rule set."""
        return Door(
            self.route(**overrides), self.keys_from, key, (OWN,), trusted=self.trusted, underscores=self.underscores
        )


OPEN = RuleSet("open")
SCOPED = RuleSet(
    "scoped",
    sites=_SCOPED,
    public=("GET /static/**",),
    refuse=("DELETE /api/**",),
    scoped=True,
)
COOKIE_KEY = RuleSet("cookie-key", keys_from=("cookie:key", "header:X-API-Key"))
QUERY_KEY = RuleSet("query-key", keys_from=("query:api_key", "header:X-API-Key"))
TRUSTED = RuleSet("trusted", trusted=True)
UNDERSCORES = RuleSet("underscores", underscores="pass")
METHODS = RuleSet(
    "methods",
    methods=("GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "PROPFIND", "QUERY", "LIST", "COPY", "REPORT"),
    refuse=("DELETE /api/**", "COPY /api/**"),
)
HOSTS = RuleSet(
    "hosts",
    sites=(_PATH, f"host:{{site}}.{DOMAIN}"),
    refuse=("query:site",),
    trusted=True,
    parts=frozenset({"path", "query", "merged", "host"}),
    reads_alike=False,
)
ARRAYS = RuleSet(
    "arrays",
    sites=(_PATH, {"query": "site", "array": True}),
    parts=frozenset({"path", "query", "merged"}),
    reads_alike=False,
)
TEMPLATES = RuleSet(
    "templates",
    sites=(_PATH, {"query": "site", "templates": _TEMPLATES, "separator": ","}),
    parts=frozenset({"path", "query", "merged"}),
    reads_alike=False,
)
FORMS = RuleSet(
    "forms",
    sites=(_PATH,),
    refuse=("query:site",),
    parts=frozenset({"path", "query", "merged"}),
    options={"form_body": "refuse"},
)

RULE_SETS = {
    rules.name: rules
    for rules in (
        OPEN,
        SCOPED,
        COOKIE_KEY,
        QUERY_KEY,
        TRUSTED,
        UNDERSCORES,
        METHODS,
        HOSTS,
        ARRAYS,
        TEMPLATES,
        FORMS,
    )
}

_TEMPLATE = re.compile(r"eq\.(.*)|in\.\((.*)\)", re.DOTALL)
_HOST = re.compile(rf"(.*)\.{re.escape(DOMAIN)}\.?(?::\d*)?", re.IGNORECASE | re.DOTALL)


def sites_in(rules: RuleSet, part: str, value: str) -> list[str]:
    """Return the sites that an API with these rules finds in a value that a backend reads."""
    if part == "host":
        host = _HOST.fullmatch(value)
        return [host[1].lower()] if host else []
    if part == "header":
        # Most servers join a repeated header with commas (RFC 9110 §5.3).
        return [member.strip() for member in value.split(",")]
    if rules is TEMPLATES and (found := _TEMPLATE.fullmatch(value)):
        return [site.strip() for site in ([found[1]] if found[1] is not None else found[2].split(","))]
    return [value]


KEY = new_key()
"""The API key of the test run. Generated requests contain a placeholder instead."""
