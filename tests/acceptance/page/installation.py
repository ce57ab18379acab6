"""A Sitelatch instance for the admin page tests, with their initial data."""

import http.server
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import httpx

from admin.identity.admin_tokens import token_digest
from tests.acceptance.harness import Keys, Sitelatch
from tests.database import on_database, run_aside

FEED_SECONDS: Final = 10
"""The longest that the change feed may take on a slow machine. Without it, a change takes effect after 30 seconds."""

BEN_TOKEN: Final = "sla_ben"
TABLES: Final = (
    "api_users",
    "sites",
    "workspaces",
    "idempotency_keys",
    "sessions",
    "oidc_logins",
    "audit_log",
    "shadow_findings",
)
"""The tables to empty. The others depend on them (ON DELETE CASCADE)."""


class DataApi(http.server.BaseHTTPRequestHandler):
    """A data API that responds to every request with an empty object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing."""


class Installation:
    """Sitelatch in front of a data API, with a database that is emptied before each test."""

    def __init__(self, latch: Sitelatch, database_url: str) -> None:
        self.latch = latch
        self.database_url = database_url
        self._configured = deepcopy(latch.tables)
        """The configuration that the running process was started with."""
        self._original = deepcopy(latch.tables)

    def reset(self) -> None:
        """Empty the database, and restore the original configuration if a test changed it."""
        # DELETE rather than TRUNCATE, whose table locks could deadlock with the queries of the running process.
        self.execute("; ".join(f"DELETE FROM sitelatch.{table}" for table in TABLES))  # noqa: S608 - names from here
        if self.latch.tables != self._original or not self.latch.running:
            self.latch.tables = deepcopy(self._original)
            self.restart()

    def restart(self) -> None:
        """Restart Sitelatch if its configuration has changed."""
        if self.latch.tables == self._configured and self.latch.running:
            return
        self.latch.stop()
        self.latch.start()
        self._configured = deepcopy(self.latch.tables)

    def configure_admin(self, **options: object) -> None:
        """Restart Sitelatch with more options in `[admin]`."""
        self.latch.tables["admin"] = {**self.latch.tables["admin"], **options}
        self.restart()

    def add_ben(self, **limits: object) -> None:
        """Configure a second admin, Ben, whose token is BEN_TOKEN."""
        ben = {"name": "Ben", "email": "ben@example.com", "sha256": token_digest(BEN_TOKEN), **limits}
        self.configure_admin(tokens=[*self.latch.tables["admin"]["tokens"], ben])

    def execute(self, statement: str, *values: object) -> None:
        """Run an SQL statement."""

        async def run() -> None:
            connection = await asyncpg.connect(self.database_url)
            await connection.execute(statement, *values)
            await connection.close()

        run_aside(run())

    @contextmanager
    def stopped_database(self) -> Iterator[None]:
        """Let the database refuse all connections, as a server that is stopping does."""
        server, name = on_database(self.database_url, "postgres"), urlsplit(self.database_url).path.lstrip("/")

        async def allow(allowed: bool) -> None:
            connection = await asyncpg.connect(server)
            await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}')
            await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            await connection.close()

        run_aside(allow(False))
        try:
            yield
        finally:
            run_aside(allow(True))

    def create_workspaces(self, *names: str) -> None:
        with self.latch.admin_client() as client:
            for name in names:
                client.post("/workspaces", json={"name": name}).raise_for_status()

    def import_sites(self, csv: str) -> None:
        with self.latch.admin_client() as client:
            client.post("/sites", json={"csv": csv, "create_workspaces": True}).raise_for_status()

    def create_users(self, count: int) -> None:
        """Create users named User 000, User 001 and so on, for the site `shop` in acme."""
        self.import_sites("site,workspace\nshop,acme\n")
        with self.latch.admin_client() as client:
            for number in range(count):
                user = {"workspace": "acme", "sites": ["shop"], "name": f"User {number:03}"}
                client.post("/users", json=user).raise_for_status()
        # Hints are random, so a search for a number would find some of them, too.
        self.execute("UPDATE sitelatch.api_keys SET hint = 'slk_abcd…wxyz'")

    def disable_and_expire(self, keys: Keys) -> None:
        """Disable the user of shop, and let the key of blog expire in the past and the key of acme in an hour."""
        self.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1", keys.shop.id)
        for user, expiry in ((keys.blog, "-2 days -1 hour"), (keys.acme, "1 hour")):
            self.execute(
                "UPDATE sitelatch.api_keys SET expires_at = now() + $2::text::interval WHERE user_id = $1",
                user.id,
                expiry,
            )

    def add_usage(self, user_id: str) -> None:
        """Record 30 days of usage of an API user: 1 request on the first day, 30 today, and 5 refused ones today."""
        self.execute(
            "INSERT INTO sitelatch.usage_days (day, user_id, outcome, requests, bytes_out)"
            " SELECT (now() AT TIME ZONE 'UTC')::date - 30 + n, $1, 'passed', n, 1000 * n"
            " FROM generate_series(1, 29) n",
            user_id,
        )
        self.execute(
            "INSERT INTO sitelatch.usage_hours (day, user_id, outcome, requests, bytes_out) VALUES"
            " ((now() AT TIME ZONE 'UTC')::date, $1, 'passed', '[0:0]={30}', '[0:0]={30000}'),"
            " ((now() AT TIME ZONE 'UTC')::date, $1, 'site_not_allowed', '[0:0]={4}', null),"
            " ((now() AT TIME ZONE 'UTC')::date, $1, 'expired_key', '[0:0]={1}', null)",
            user_id,
        )

    def status(self, site: str, key: str) -> int:
        """Return the status that the front door gives to a request for a site with this key."""
        with httpx.Client(trust_env=False) as client:
            return client.get(f"{self.latch.url}/api/sites/{site}/uptime", headers={"X-API-Key": key}).status_code

    def expect_status(self, site: str, key: str, expected: int) -> None:
        """Wait until requests get this status. Changes reach the front door through the change feed."""
        deadline = time.monotonic() + FEED_SECONDS
        while (found := self.status(site, key)) != expected:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
