"""The configurations and keys that the cost of heads is measured with."""

from typing import Any

from bench.driver import Setup
from proxy.decision.api_keys import new_key

SITE_KEY = new_key()
"""The key of an API user with the site `shop`."""
WORKSPACE_KEY = new_key()
"""The key of an API user with all sites of its workspace."""
UNKNOWN_KEY = new_key()
"""Well-formed, but no API user has it."""

KEYS = {"site key": SITE_KEY, "workspace key": WORKSPACE_KEY, "unknown key": UNKNOWN_KEY, "no key": ""}

_UPSTREAM = "http://127.0.0.1:9000"
_RULES = ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]

DEFAULT: dict[str, Any] = {"proxy": {"routes": [{"name": "data", "upstream": _UPSTREAM, "sites": _RULES}]}}
"""The rules of `config.example.toml`."""

KEYS_EVERYWHERE: dict[str, Any] = DEFAULT | {
    "keys": {"from": ["header:X-API-Key", "bearer", "basic", "cookie:api_key", "query:api_key", "query:token"]}
}
"""Keys may be in cookies and in the query too."""

FULL: dict[str, Any] = {
    "proxy": {
        "trusted_proxies": ["192.0.2.0/24"],
        "routes": [
            {
                "name": "exports",
                "path": "/export",
                "upstream": _UPSTREAM,
                "sites": ["path:/export/{site}.json", {"query": "site_id", "template": "eq.{site}"}],
                "refuse": ["POST /export/$batch", "query:urls"],
            },
            {
                "name": "data",
                "upstream": _UPSTREAM,
                "workspace": "acme",
                "sites": [
                    "path:/api/sites/{site}/**",
                    "path:/Sites('{site}')/**",
                    "host:{site}.api.example.com",
                    {"query": "idSite", "separator": ",", "all": "all"},
                    {"query": "filter[site]", "template": "in.({site})", "separator": ","},
                    "query:site",
                    {"header": "X-Site", "separator": ","},
                ],
                "public": [f"GET /static/{number}/**" for number in range(20)],
                "refuse": [
                    "query:urls",
                    "query:$apply",
                    *(f"DELETE /api/sites/shop/table{number}/**" for number in range(20)),
                ],
                "preflight": "pass",
            },
        ],
    },
    "keys": {"from": ["header:X-API-Key", "bearer", "cookie:api_key", "query:api_key"]},
}
"""Two routes, every kind of rule, lists of endpoints, and a client that comes through a trusted proxy."""

OPTIONS: dict[str, Any] = {
    "proxy": {
        "header_underscores": "pass",
        "drop_headers": ["X-Tenant", "X-Acme-*", "X-Scope-OrgID"],
        "routes": [
            {
                "name": "data",
                "upstream": _UPSTREAM,
                "workspace": "acme",
                "sites": [
                    "path:/api/sites/{site}/**",
                    {"query": "site", "paths": ["/api/query", "/api/export/**"]},
                    {
                        "query": "site_id",
                        "templates": ["eq.{site}", "in.({site})", "{site}"],
                        "separator": ",",
                        "paths": ["/api/sites/**", "/api/rows/**"],
                    },
                    {"query": "ids", "array": True, "all": "all"},
                    {"header": "X-Site", "separator": ",", "paths": ["/api/lookup", "/api/sites/**"]},
                    {"header": "X_Site_Id", "templates": ["site:{site}", "{site}"]},
                ],
                "methods": ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PROPFIND", "QUERY", "LIST"],
                "cors": {
                    "origins": ["https://app.example", *(f"https://app{number}.example" for number in range(20))],
                    "credentials": True,
                },
                "drop_headers": ["X-Debug", "X-Internal-*"],
                "second_resource": "pass",
                "refuse": ["query:urls", "DELETE /api/sites/shop/table/**"],
            },
        ],
    },
    "keys": {"from": ["header:X-API-Key", "bearer", "query:api_key"]},
}
"""Scopes, templates, arrays, CORS, header names with `_`, further methods and dropped headers."""

_KNOWN: dict[str, dict[str, Any]] = {
    SITE_KEY: {"user_id": "ada", "sites": ["shop"]},
    WORKSPACE_KEY: {"user_id": "bob", "all_sites": True},
}


SETUPS = {
    name: Setup(**config, known=_KNOWN, sites={"shop": "acme", "blog": "acme"})
    for name, config in {
        "default": DEFAULT,
        "keys everywhere": KEYS_EVERYWHERE,
        "full": FULL,
        "options": OPTIONS,
    }.items()
}
