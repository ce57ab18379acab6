"""The rule sets of the generated requests. Each request belongs to one. The key is for the site `shop`."""

from dataclasses import dataclass
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

    def route(self, **overrides: Any) -> RouteSettings:
        """Return the settings of the route."""
        table = {
            "name": "data",
            "upstream": "http://127.0.0.1:9",
            "sites": list(self.sites),
            "public": list(self.public),
            "refuse": list(self.refuse),
            "methods": list(self.methods),
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

RULE_SETS = {rules.name: rules for rules in (OPEN, SCOPED, COOKIE_KEY, QUERY_KEY, TRUSTED, UNDERSCORES, METHODS)}

KEY = new_key()
"""The API key of the test run. Generated requests contain a placeholder instead."""
