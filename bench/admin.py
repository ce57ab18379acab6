"""Measures the admin API over HTTP with 100,000 API users and 5,000 sites: `python -m bench.admin [ROUNDS]`.

The benchmark starts a server with an embedded PostgreSQL and fills its tables with SQL. It prints the median and the
maximum time of ROUNDS (30) requests in milliseconds. Requests are sent one after another on one connection.
"""

import asyncio
import hashlib
import http.client
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.processes import free_port, process, wait_for
from sitelatch.config_file import load
from sitelatch.database import connection_to

_USERS = 100_000
_SITES = 5_000
_TOKEN = "sla_bench"  # noqa: S105 - used only in this benchmark
_ADMINS = 50

_FILL = """
INSERT INTO sitelatch.workspaces (name) SELECT 'workspace ' || n FROM generate_series(1, 10) n;

INSERT INTO sitelatch.sites (id, folded, workspace_id, display_name)
SELECT 'site-' || n, 'site-' || n, w.id, 'Site number ' || n
FROM generate_series(0, {sites} - 1) n JOIN sitelatch.workspaces w ON w.name = 'workspace ' || n % 10 + 1;

INSERT INTO sitelatch.api_users (workspace_id, name, all_sites, authorized_by_name, authorized_by_email, created_at)
SELECT w.id, 'Integration ' || n, n % 5 = 0, 'Admin ' || n % {admins}, 'admin' || n % {admins} || '@example.com',
       now() - n * interval '1 minute'
FROM generate_series(0, {users} - 1) n JOIN sitelatch.workspaces w ON w.name = 'workspace ' || n % 10 + 1;

INSERT INTO sitelatch.api_keys (digest, user_id, hint)
SELECT sha256(id::text::bytea), id, 'slk_' || substr(md5(id::text), 1, 4) || '…' || substr(md5(id::text), 5, 4)
FROM sitelatch.api_users;

INSERT INTO sitelatch.api_user_sites (user_id, site_id, workspace_id)
SELECT DISTINCT u.id, 'site-' || (abs(hashtext(u.name || extra)::bigint) % ({sites} / 10) * 10 + u.workspace),
       u.workspace_id
FROM (SELECT *, right(name, -12)::int % 10 AS workspace FROM sitelatch.api_users WHERE NOT all_sites) u
CROSS JOIN generate_series(1, 3) extra;

UPDATE sitelatch.api_user_activity SET last_used_at = now() - random() * interval '90 days' WHERE random() < 0.8;
"""

Request = Callable[..., Any]


async def _fill(config: Path) -> None:
    async with connection_to(load(config, {}).database, config.parent) as connection:
        await connection.execute(_FILL.format(users=_USERS, sites=_SITES, admins=_ADMINS), timeout=600)
        for table in ("api_users", "api_keys", "api_user_sites", "api_user_activity", "sites"):
            await connection.execute(f"VACUUM ANALYZE sitelatch.{table}", timeout=600)


def _client(port: int) -> Request:
    """Return a function that calls the admin API on one connection and returns the JSON of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def request(method: str, path: str, body: object = None, **parameters: object) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
        connection.request(method, f"/admin{path}{query}", None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {content.decode()}")
        return json.loads(content) if content else None

    return request


def _measure(title: str, rounds: int, work: Callable[[int], object]) -> None:
    """Measure `rounds` calls of `work`, which gets the number of the round, and print the times."""
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        work(number)
        times.append((time.perf_counter() - start) * 1000)
    print(f"{title:34} {statistics.median(times):7.1f} ms   maximum {max(times):7.1f} ms", flush=True)


def _measure_all(request: Request, rounds: int) -> None:
    randomness = random.Random(1)  # noqa: S311 - the same on every run
    page = request("GET", "/users")
    deep = page
    for _ in range(20):
        deep = request("GET", "/users", after=deep["next"], limit=200)
    hints = [key["hint"] for user in deep["items"] for key in user["keys"]]
    _measure("list", rounds, lambda _: request("GET", "/users"))
    _measure("list, after 4,000 users", rounds, lambda _: request("GET", "/users", after=deep["next"]))
    _measure("list of one workspace", rounds, lambda _: request("GET", "/users", workspace="workspace 3"))
    _measure("list by activity, oldest first", rounds, lambda _: request("GET", "/users", sort="last_activity"))
    _measure("list by activity, latest first", rounds, lambda _: request("GET", "/users", sort="-last_activity"))

    def search(text: Callable[[], str], **more: str) -> Callable[[int], object]:
        return lambda _: request("GET", "/users", search=text(), **more)

    _measure("search: a name", rounds, search(lambda: f"integration {randomness.randrange(10_000, _USERS)}"))
    _measure("search: an email address (2 %)", rounds, search(lambda: f"admin{randomness.randrange(10, _ADMINS)}@"))
    _measure("search: a site", rounds, search(lambda: f"site-{randomness.randrange(1_000, _SITES)}"))
    _measure("search: a key hint", rounds, search(lambda: randomness.choice(hints)))
    _measure("search: no match", rounds, search(lambda: "no such name"))
    _measure("search: everything matches", rounds, search(lambda: "integration"))
    _measure("search: everything, by activity", rounds, search(lambda: "integration", sort="last_activity"))
    _measure("sites: list", rounds, lambda _: request("GET", "/sites"))
    _measure("sites: search while typing", rounds, lambda n: request("GET", "/sites", search=f"site-{n}", limit=50))
    _measure("audit", rounds, lambda _: request("GET", "/audit"))

    created: list[str] = []

    def create(**scope: object) -> Callable[[int], object]:
        return lambda _: created.append(request("POST", "/users", {"workspace": "workspace 1", **scope})["id"])

    few, many = [[f"site-{number * 10}" for number in range(count)] for count in (3, _SITES // 10)]
    _measure("create, for all sites", rounds, create(all_sites=True))
    _measure("create, for 3 sites", rounds, create(sites=few))
    _measure("create, for 500 sites", rounds, create(sites=many))
    _measure("show a user with 500 sites", rounds, lambda _: request("GET", f"/users/{created[-1]}"))
    _measure("delete, with 500 sites", rounds, lambda _: request("DELETE", f"/users/{created.pop()}"))
    _measure("delete", rounds, lambda _: request("DELETE", f"/users/{created.pop()}"))


def main() -> None:
    """Fill the database, run the measurements and print the results."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sitelatch-bench-")))
        door, ops, admin = (free_port() for _ in range(3))
        config = folder / "config.toml"
        config.write_text(
            f'[proxy]\nlisten = "127.0.0.1:{door}"\n'
            '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:9"\nsites = ["query:site"]\n'
            f'[ops]\nlisten = "127.0.0.1:{ops}"\n[admin]\nlisten = "127.0.0.1:{admin}"\n'
            f'[[admin.tokens]]\nname = "Bench"\nemail = "bench@example.com"\n'
            f'sha256 = "{hashlib.sha256(_TOKEN.encode()).hexdigest()}"\n'
        )
        stack.enter_context(process("sitelatch", "serve", "--config", str(config)))
        wait_for(admin)
        print(f"Inserting {_USERS:,} API users and {_SITES:,} sites …", flush=True)
        asyncio.run(_fill(config))
        _measure_all(_client(admin), rounds)


if __name__ == "__main__":
    main()
