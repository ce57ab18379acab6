"""The OpenAPI document of the admin API, checked against the API itself."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import asyncpg

from admin.app import admin_app
from tests.integration.adminapi import ADA_TOKEN, FRONT_DOOR, SETTINGS, AdminClient, acme, admin

__all__ = ["acme", "admin"]

# Excluded, because whether a valid request is accepted depends on the data in the database.
EXCLUDED_CHECK = "positive_data_acceptance"


async def test_the_document_describes_exactly_the_existing_endpoints(admin: AdminClient, pool: asyncpg.Pool) -> None:
    document = await admin.get("/openapi.json")
    served = [
        (route.method.lower(), route.resource.canonical)
        for route in admin_app(SETTINGS, pool, front_door=FRONT_DOOR).router.routes()
        if route.resource is not None and route.method != "HEAD"
    ]
    not_json = {"", "/", "/static/{name}", "/sign-in/oidc/callback", "/integrators", "/integrators.md"}
    page = {("get", path) for path in not_json}
    described = [(method, path) for path, methods in document["paths"].items() for method in methods]
    assert sorted(described) == sorted(set(served) - page)


async def test_endpoints_without_credentials_are_described_as_such(admin: AdminClient) -> None:
    paths = (await admin.get("/openapi.json"))["paths"]
    refusals = {
        (method, path): sorted(set(operation["responses"]) - {"200"})
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("security") == []
    }
    assert refusals == {
        ("post", "/session"): ["400", "401", "403", "408", "413", "415", "422", "429", "500", "503"],
        ("get", "/sign-in"): ["422", "500"],
        ("post", "/sign-in/oidc"): ["403", "404", "422", "429", "500", "503"],
    }


async def test_the_api_conforms_to_its_openapi_document(acme: AdminClient, tmp_path: Path) -> None:
    """Schemathesis sends valid and invalid requests and checks every response against the document."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"{acme.base}admin/openapi.json",
        *("--header", f"Authorization: Bearer {ADA_TOKEN}"),
        *("--checks", "all", "--exclude-checks", EXCLUDED_CHECK),
        *("--max-examples", "5", "--seed", "1", "--generation-database", "none", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(120):
            output, _ = await program.communicate()
    finally:
        with suppress(ProcessLookupError):
            program.kill()
    assert program.returncode == 0, output.decode()
