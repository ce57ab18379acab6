"""The checks of `sitelatch doctor`, each with the fault that it is for, on a real PostgreSQL."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sitelatch.config_file import load
from sitelatch.doctor.examination import examine
from sitelatch.doctor.finding import Finding, Status
from sql.migrate import migrate
from sql.pool import open_connection
from tests.acceptance.certificates import Authority
from tests.acceptance.wire import listening_socket, port_of
from tests.database import as_role
from tests.integration.test_sql_roles import with_roles
from tests.ports import free_port


class Patient:
    """An installation: the tables of its config, and a database with the roles of sql/roles.sql."""

    def __init__(self, folder: Path, dsn: str, upstream_port: int) -> None:
        self.file = folder / "sitelatch.toml"
        self.route: dict[str, Any] = {
            "name": "data",
            "upstream": f"http://127.0.0.1:{upstream_port}",
            "sites": ["path:/api/sites/{site}/**"],
        }
        self.more = ""
        self.urls = {"url": as_role(dsn, "sitelatch_doors")}
        self.admin_url: str | None = as_role(dsn, "sitelatch_admin")

    async def findings(self, clock: Callable[[], float] = time.time) -> list[Finding]:
        route = "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.route.items())
        urls = "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.urls.items())
        admin = "" if self.admin_url is None else f"[admin]\ndatabase_url = {json.dumps(self.admin_url)}\n"
        self.file.write_text(f"[[proxy.routes]]\n{route}[database]\n{urls}{admin}{self.more}")
        return [finding async for finding in examine(load(self.file, {}), clock)]

    async def only(self, check: str, **options: Any) -> Finding:
        """Return the only finding of this check, provided that no other check has found anything."""
        found = await self.findings(**options)
        assert {each.check for each in found if each.status in (Status.WARNING, Status.PROBLEM)} <= {check}, found
        [finding] = [each for each in found if each.check == check and each.status is not Status.OK] or [
            each for each in found if each.check == check
        ]
        return finding


@pytest.fixture
async def superuser(database_server: str, dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to a database with the tables and the roles."""
    connection = await open_connection(dsn, role="tests")
    async with with_roles(database_server, dsn):
        await migrate(connection)  # grants the roles their privileges
        yield connection
    await connection.close()


@pytest.fixture
async def patient(tmp_path: Path, dsn: str, superuser: asyncpg.Connection) -> AsyncIterator[Patient]:
    with closing(listening_socket()) as upstream:
        yield Patient(tmp_path, dsn, port_of(upstream))


async def test_a_healthy_installation_has_neither_warnings_nor_problems(patient: Patient) -> None:
    found = await patient.findings()
    assert {finding.status for finding in found} == {Status.OK, Status.SKIPPED}
    assert [finding.check for finding in found] == [
        "config",
        "site-rules",
        "shadow-mode",
        "database",
        "database",
        "migrations",
        "roles",
        "roles",
        "listen",
        "clocks",
        "upstream",
        "tls-files",
        "open-files",
    ]


@pytest.mark.parametrize(
    ("revoked", "lacking"),
    [
        ("SELECT ON sitelatch.sites FROM sitelatch_doors", "SELECT on sites"),
        ("SELECT (disabled_at) ON sitelatch.api_users FROM sitelatch_doors", "SELECT on api_users.disabled_at"),
        ("UPDATE ON sitelatch.api_user_activity FROM sitelatch_doors", "UPDATE on api_user_activity.last_used_at"),
        ("SELECT ON sitelatch.schema_migrations FROM sitelatch_doors", "SELECT on schema_migrations"),
        ("INSERT ON sitelatch.audit_log FROM sitelatch_admin", "INSERT on audit_log"),
        ("DELETE ON sitelatch.sessions FROM sitelatch_admin", "DELETE on sessions"),
    ],
)
async def test_a_missing_privilege_is_found(
    patient: Patient, superuser: asyncpg.Connection, revoked: str, lacking: str
) -> None:
    await superuser.execute(f"REVOKE {revoked}")
    [finding] = [each for each in await patient.findings() if each.status is Status.PROBLEM]
    assert (finding.check, f"lacks {lacking}. Run `sitelatch migrate`" in finding.message) == ("roles", True), finding


async def test_a_function_that_a_role_may_not_call_is_found(patient: Patient, superuser: asyncpg.Connection) -> None:
    await superuser.execute("REVOKE EXECUTE ON FUNCTION sitelatch.is_whole() FROM PUBLIC")
    found = [each for each in await patient.findings() if each.status is Status.PROBLEM]
    assert "roles" in [each.check for each in found]
    assert all("permission denied for function is_whole" in each.message for each in found), found


@pytest.mark.parametrize(
    ("granted", "excess"),
    [
        ("DELETE ON sitelatch.sites TO sitelatch_doors", "DELETE on sites"),
        ("SELECT ON sitelatch.api_users TO sitelatch_doors", "SELECT on api_users"),
        ("SELECT (authorized_by_email) ON sitelatch.api_users TO sitelatch_doors", "api_users.authorized_by_email"),
        ("TRUNCATE ON sitelatch.audit_log TO sitelatch_admin", "TRUNCATE on audit_log"),
        ("UPDATE ON sitelatch.audit_log TO PUBLIC", "UPDATE on audit_log"),
        ("CREATE ON SCHEMA sitelatch TO sitelatch_doors", "may create objects"),
        ("sitelatch_owner TO sitelatch_admin", "owns the tables"),
    ],
)
async def test_a_privilege_that_a_role_does_not_need_is_found(
    patient: Patient, superuser: asyncpg.Connection, granted: str, excess: str
) -> None:
    await superuser.execute(f"GRANT {granted}")
    if granted.startswith("sitelatch_owner"):
        await superuser.execute("ALTER TABLE sitelatch.sites OWNER TO sitelatch_owner")
    try:
        found = [each for each in await patient.findings() if each.status is not Status.OK and each.check == "roles"]
        assert {each.status for each in found} == {Status.WARNING}
        assert all(excess in each.message for each in found), found
    finally:
        if granted.startswith("sitelatch_owner"):
            await superuser.execute("REVOKE sitelatch_owner FROM sitelatch_admin")


async def test_a_superuser_and_a_single_role_for_all_tables_are_found(patient: Patient, dsn: str) -> None:
    patient.urls, patient.admin_url = {"url": dsn}, None
    found = [each for each in await patient.findings() if each.check == "roles"]
    assert [each.status for each in found] == [Status.WARNING, Status.WARNING]
    assert "is a superuser" in found[0].message
    assert "admin.database_url is not set" in found[1].message


async def test_a_schema_of_another_version_is_found(patient: Patient, superuser: asyncpg.Connection) -> None:
    await superuser.execute("DELETE FROM sitelatch.schema_migrations WHERE version > 1")
    found = {each.check: each for each in await patient.findings()}
    assert found["migrations"].status is Status.PROBLEM
    assert "run `sitelatch migrate`" in found["migrations"].message
    assert {found["roles"].status, found["listen"].status} == {Status.SKIPPED}


async def test_disabled_triggers_of_the_change_feed_are_found(patient: Patient, superuser: asyncpg.Connection) -> None:
    await superuser.execute("ALTER TABLE sitelatch.api_keys DISABLE TRIGGER note_key")
    found = {each.check: each for each in await patient.findings()}
    assert (found["migrations"].status, found["migrations"].message[:10]) == (Status.PROBLEM, "1 triggers")


async def test_an_admin_url_of_another_database_is_found(patient: Patient, database_server: str) -> None:
    patient.admin_url = database_server
    found = [each for each in await patient.findings() if each.status is Status.PROBLEM]
    assert any("another database than database.url" in each.message for each in found)


async def test_a_database_that_accepts_no_writes_is_found(patient: Patient, superuser: asyncpg.Connection) -> None:
    name = await superuser.fetchval("SELECT current_database()")
    await superuser.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    found = [each for each in await patient.findings() if each.check == "database"]
    assert {each.status for each in found} == {Status.PROBLEM}
    assert "accepts no writes" in found[0].message


async def test_a_database_that_does_not_answer_is_found_and_its_checks_are_skipped(patient: Patient) -> None:
    port = free_port()
    patient.urls, patient.admin_url = {"url": f"postgresql://doors:hunter2@127.0.0.1:{port}/x"}, None
    found = {each.check: each for each in await patient.findings()}
    assert found["database"].status is Status.PROBLEM
    assert f"127.0.0.1 port {port}: Connection refused" in found["database"].message
    assert {found[check].status for check in ("migrations", "roles", "listen", "clocks")} == {Status.SKIPPED}
    assert not any("hunter2" in each.message for each in found.values())


@pytest.mark.parametrize(
    ("seconds", "status", "direction"),
    [(-5, Status.WARNING, "ahead of"), (5, Status.WARNING, "behind"), (3600, Status.PROBLEM, "behind")],
)
async def test_clocks_that_disagree_are_found(patient: Patient, seconds: float, status: Status, direction: str) -> None:
    finding = await patient.only("clocks", clock=lambda: time.time() + seconds)
    assert finding.status is status
    assert f"{abs(seconds)}.0 s {direction} that of this machine" in finding.message


async def test_an_upstream_that_does_not_answer_is_found(patient: Patient) -> None:
    patient.route["upstream"] = f"http://127.0.0.1:{free_port()}"
    finding = await patient.only("upstream")
    assert (finding.status, "connection refused" in finding.message.lower()) == (Status.PROBLEM, True)


async def test_rules_that_apply_to_every_path_are_found(patient: Patient) -> None:
    patient.route["sites"] = ["path:/api/sites/{site}/**", "query:site"]
    finding = await patient.only("site-rules")
    assert finding.status is Status.WARNING
    assert 'sites, item 2: "query:site" applies to every path' in finding.message


async def test_each_route_in_shadow_mode_is_found(patient: Patient) -> None:
    patient.route["mode"] = "shadow"
    finding = await patient.only("shadow-mode")
    assert finding.status is Status.WARNING
    assert '[[proxy.routes]] "data" mode: the route is in shadow mode' in finding.message


@pytest.mark.parametrize(
    ("days", "starts_in", "status", "says"),
    [
        (30, -10, Status.OK, "1 files with valid certificates"),
        (10, -10, Status.WARNING, "expires on "),
        (-1, -10, Status.PROBLEM, "expired on "),
        (30, 2, Status.PROBLEM, "is not valid before "),
    ],
)
async def test_the_dates_of_certificates_are_checked(
    patient: Patient, tmp_path: Path, days: int, starts_in: int, status: Status, says: str
) -> None:
    pair = Authority(tmp_path, "authority").pair("data.example", days=days, starts_in=starts_in)
    patient.more = f'[proxy.tls]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    finding = await patient.only("tls-files")
    assert (finding.status, says in finding.message) == (status, True), finding


async def test_a_key_of_another_certificate_is_found(patient: Patient, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    pair, other = authority.pair("data.example", days=30), authority.pair("other.example", days=30)
    patient.more = f'[proxy.tls]\ncertificate = "{pair.certificate}"\nkey = "{other.key}"\n'
    finding = await patient.only("tls-files")
    assert finding.status is Status.PROBLEM
    assert f"the private key {other.key} belongs to another certificate than {pair.certificate}" in finding.message
