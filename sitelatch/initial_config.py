"""The first config of an installation, as `sitelatch init` writes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ADMIN_LISTEN: Final = "127.0.0.1:9091"

_PATHS_HINT = """    # For a query or header rule, list the paths on which your API reads the value, for example
    # { query = "site", paths = ["/api/query"] }. Without `paths`, the rule applies to every path.
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator chose: the data API, where a request names its site, the database, and the first admin."""

    upstream: str
    rules: Sequence[str]
    """Site rules, such as "path:/v1/{site}/**" or "query:site"."""
    paths: Sequence[str]
    """The paths on which the API reads the site from the query or a header. Empty for every path."""
    database: str
    admin_name: str
    admin_email: str


def config_text(choices: Choices, token_sha256: str) -> str:
    """Return the config file."""
    rules = "".join(f"    {_rule(rule, choices.paths)},\n" for rule in choices.rules)
    unscoped = not choices.paths and any(rule.startswith(("query:", "header:")) for rule in choices.rules)
    return f"""# Written by `sitelatch init`. config.example.toml lists every option with its default.

[proxy]
listen = "127.0.0.1:8080"                # integrations send their requests here; "*:8080" for every address
# public_url = "https://data.example"    # the address that the admin page shows to integrations

[[proxy.routes]]
name = "data"
upstream = {_string(choices.upstream)}
sites = [                                # where a request names its site
{_PATHS_HINT if unscoped else ""}{rules}]
public = []                              # requests that need no key, for example "GET /api/health"

[database]
url = {_string(choices.database)}

[ops]
listen = "127.0.0.1:9090"                # /metrics, /livez and /readyz

[admin]
listen = "{ADMIN_LISTEN}"                # the admin page at /admin/; beyond loopback it needs a TLS proxy in front

[[admin.tokens]]
name = {_string(choices.admin_name)}
email = {_string(choices.admin_email)}
sha256 = "{token_sha256}"
"""


def _rule(rule: str, paths: Sequence[str]) -> str:
    kind, _, name = rule.partition(":")
    if paths and kind in ("query", "header"):
        return f"{{ {kind} = {_string(name)}, paths = {json.dumps(list(paths), ensure_ascii=False)} }}"
    return _string(rule)


def _string(text: str) -> str:
    # TOML has fewer escapes than JSON, so only quotes, backslashes and control characters may be escaped.
    return json.dumps(text, ensure_ascii=False)
