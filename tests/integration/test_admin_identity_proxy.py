"""Headers of a trusted identity proxy: they count only on its connections, and for people on the allow list."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector

from admin.app import admin_app
from admin.settings import AdminSettings
from tests.integration.adminapi import ADA_TOKEN, BEN_TOKEN, SETTINGS, AdminClient, serving
from tests.integration.jar import Jar

PROXY, STRANGER = "127.0.0.2", "127.0.0.1"
ADA = {"X-Forwarded-Email": "ada@example.com", "X-Forwarded-User": "Ada"}


def settings(**changed: Any) -> AdminSettings:
    table = {
        "addresses": (PROXY,),
        "allow": (
            {"emails": ("Ada@example.com",)},
            {"domains": ("acme.example",), "workspaces": ("acme",)},
            {"users": ("cyd",), "workspaces": ("globex",)},
        ),
        **changed,
    }
    return AdminSettings.model_validate({**SETTINGS.model_dump(), "identity_proxy": table})


async def connecting_from(client: AdminClient, address: str) -> AsyncIterator[AdminClient]:
    async with ClientSession(connector=TCPConnector(local_addr=(address, 0))) as session:
        yield replace(client, session=session, token=None)


@pytest.fixture
async def stranger(pool: asyncpg.Pool) -> AsyncIterator[AdminClient]:
    """A client that does not connect from the proxy."""
    async with serving(admin_app(settings(), pool)) as client:
        yield client.as_(None)


@pytest.fixture
async def proxy(stranger: AdminClient) -> AsyncIterator[AdminClient]:
    """A client that connects from the proxy."""
    async for client in connecting_from(stranger, PROXY):
        yield client


async def whoami(client: AdminClient, headers: Any) -> tuple[int, Any]:
    async with client.session.get(f"{client.base}admin/session", headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_person_named_by_the_proxy_is_an_admin_if_on_the_allow_list(proxy: AdminClient) -> None:
    status, session = await whoami(proxy, ADA)
    assert status == 200
    assert session["person"] == {"name": "Ada", "email": "ada@example.com"}
    assert session["workspaces"] is None
    assert session["can_sign_out"] is False
    for headers, workspaces in (
        ({"X-Forwarded-Email": "ben@acme.example"}, ["acme"]),
        ({"X-Forwarded-User": "cyd"}, ["globex"]),
        ({"X-Forwarded-User": "cyd", "X-Forwarded-Email": "cyd@acme.example"}, ["acme", "globex"]),
        ({"x-forwarded-email": "ADA@EXAMPLE.COM"}, None),
    ):
        status, session = await whoami(proxy, headers)
        assert (status, session["workspaces"]) == (200, workspaces)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Email": "eve@evil.example"},
        {"X-Forwarded-Email": "ada@example.com.evil.example"},
        {"X-Forwarded-Email": "ada@example.com, eve@evil.example"},
        {"X-Forwarded-Email": "eve@evil.example", "X-Forwarded-User": "ada@example.com"},
        {"X-Forwarded-User": "Cyd"},
        {"X-Forwarded-User": "ada@example.com"},
    ],
)
async def test_a_person_who_is_not_on_the_allow_list_is_not_an_admin(
    proxy: AdminClient, headers: dict[str, str]
) -> None:
    status, problem = await whoami(proxy, headers)
    assert (status, problem["code"]) == (403, "not_an_admin")


async def test_identity_headers_from_other_addresses_are_ignored(stranger: AdminClient) -> None:
    nobody = await whoami(stranger, {})
    assert nobody[0] == 401
    for more in (
        {},
        {"X-Forwarded-For": PROXY},
        {"X-Real-IP": PROXY},
        {"Forwarded": f"for={PROXY}"},
        {"X-Forwarded-For": f"{PROXY}, {PROXY}", "X-Forwarded-Host": "127.0.0.1", "Via": "1.1 proxy"},
    ):
        assert await whoami(stranger, {**ADA, **more}) == nobody
    assert (await whoami(stranger, {**ADA, "Authorization": f"Bearer {ADA_TOKEN}"}))[0] == 200


@pytest.mark.parametrize("trusted", [(STRANGER,), ("127.0.0.0/8",)])
async def test_a_trusted_proxy_is_not_an_identity_proxy(pool: asyncpg.Pool, trusted: tuple[str, ...]) -> None:
    at = settings(addresses=("10.0.0.7",)).model_copy(update={"trusted_proxies": trusted})
    async with serving(admin_app(at, pool)) as client:
        assert (await whoami(client.as_(None), {**ADA, "X-Forwarded-For": "10.0.0.7"}))[0] == 401


async def test_repeated_headers_are_refused(proxy: AdminClient) -> None:
    for twice in (
        [("X-Forwarded-Email", "ada@example.com"), ("X-Forwarded-Email", "ada@example.com")],
        [("X-Forwarded-Email", "ada@example.com"), ("X-Forwarded-Email", "eve@evil.example")],
        [("X-Forwarded-Email", ""), ("X-Forwarded-Email", "ada@example.com")],
        [("X-Forwarded-Email", "ada@example.com"), ("X-Forwarded-User", "a"), ("X-Forwarded-User", "b")],
    ):
        status, problem = await whoami(proxy, twice)
        assert (status, problem["code"]) == (401, "not_signed_in")


async def test_empty_headers_are_not_credentials(proxy: AdminClient) -> None:
    for headers in ({}, {"X-Forwarded-Email": ""}, {"X_Forwarded_Email": "ada@example.com"}):
        assert (await whoami(proxy, headers))[0] == 401


async def test_the_names_of_the_identity_headers_can_be_configured(pool: asyncpg.Pool) -> None:
    at = settings(addresses=(STRANGER,), email_header="Remote-Email", user_header="Remote-User")
    async with serving(admin_app(at, pool)) as client:
        nobody = client.as_(None)
        assert (await whoami(nobody, {"Remote-Email": "ada@example.com"}))[0] == 200
        assert (await whoami(nobody, ADA))[0] == 401


async def test_changes_behind_the_proxy_must_come_from_our_page(proxy: AdminClient, pool: asyncpg.Pool) -> None:
    jar = Jar(proxy)
    ada = await jar.client(**ADA)
    _, _, answer = await jar.request("GET", "/session", ADA)
    line = answer.headers["Set-Cookie"]
    assert line.startswith(f"sitelatch-{proxy.base.port}-page=")
    assert line.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict")
    assert (await ada.request("POST", "/workspaces", {"name": "acme"}))[0] == 201
    line = await pool.fetchval("SELECT actor_email FROM sitelatch.audit_log ORDER BY id DESC LIMIT 1")
    assert line == "ada@example.com"
    # The CSRF token is bound to this browser and this person.
    other = await Jar(proxy).client(**ADA)
    ben = {"X-Forwarded-Email": "ben@acme.example", "X-Forwarded-User": None}
    for changed in (
        {"X_CSRF_Token": None},
        {"X_CSRF_Token": other.browser["X-CSRF-Token"]},
        {"Cookie": None},
        {"Cookie": other.browser["Cookie"]},
        {"Cookie": f"{ada.browser['Cookie']}; {other.browser['Cookie']}"},
        {"Origin": None},
        {"Origin": "https://evil.example"},
        {name.replace("-", "_"): value for name, value in ben.items()},
    ):
        status, problem, _ = await ada.sending(**changed).request("POST", "/workspaces", {"name": "no"})
        assert (status, problem["code"]) == (403, "cross_site"), changed
    assert (await ada.request("DELETE", "/session"))[0] == 204  # there is no session to end
    assert (await ada.request("GET", "/session"))[0] == 200


@pytest.mark.parametrize("host", [{"Host": "admin.example"}, {"Host": "localhost", "X-Forwarded-Proto": "https"}])
async def test_over_https_the_page_cookie_is_secure_and_host_only(proxy: AdminClient, host: dict[str, str]) -> None:
    at = host["Host"]
    client = replace(proxy, browser={**ADA, **host})
    status, session, answer = await client.request("GET", "/session")
    assert status == 200
    line = answer.headers["Set-Cookie"]
    assert line.startswith("__Host-sitelatch-page=")
    assert line.endswith("; SameSite=Strict; Secure")
    sent = {"Cookie": line.partition(";")[0], "X-CSRF-Token": session["csrf_token"]}
    page = replace(proxy, browser={**ADA, **host, **sent, "Origin": f"https://{at}"})
    assert (await page.request("POST", "/workspaces", {"name": "new"}))[0] == 201
    status, problem, _ = await page.sending(Origin=f"http://{at}").request("POST", "/workspaces", {"name": "x"})
    assert (status, problem["code"]) == (403, "cross_site")


async def test_a_bearer_token_added_by_a_proxy_does_not_work_for_foreign_pages(stranger: AdminClient) -> None:
    with_token = replace(stranger, token=ADA_TOKEN)
    for origin in ("https://evil.example", "null", ""):
        status, problem, _ = await with_token.request("POST", "/workspaces", {"name": "x"}, headers={"Origin": origin})
        assert (status, problem["code"]) == (403, "cross_site"), origin
    for headers in ({"Origin": stranger.origin}, {}):
        assert (await with_token.request("POST", "/users/x/reveal", headers=headers))[0] == 404


async def test_the_proxy_takes_precedence_over_a_session_unless_it_names_someone_who_is_not_an_admin(
    proxy: AdminClient,
) -> None:
    ben = await proxy.signed_in(BEN_TOKEN)
    status, session, _ = await replace(ben, browser={**ben.browser, **ADA}).request("GET", "/session")
    assert (status, session["person"]["email"]) == (200, "ada@example.com")
    eve = {"X-Forwarded-Email": "eve@evil.example"}
    status, session, _ = await replace(ben, browser={**ben.browser, **eve}).request("GET", "/session")
    assert (status, session["person"]["name"], session["can_sign_out"]) == (200, "Ben", True)


async def test_the_audit_log_records_the_address_that_a_trusted_proxy_forwards(pool: asyncpg.Pool) -> None:
    at = settings().model_copy(update={"trusted_proxies": (STRANGER,)})
    async with serving(admin_app(at, pool)) as client:

        async def address(name: str, forwarded: str) -> str:
            status, body, _ = await client.request(
                "POST", "/workspaces", {"name": name}, headers={"X-Forwarded-For": forwarded}
            )
            assert status == 201, body
            return json.dumps((await client.get("/audit"))["items"][0]["address"]).strip('"')

        assert await address("a", "203.0.113.9") == "203.0.113.9"
        assert await address("b", "198.51.100.1, 203.0.113.9") == "203.0.113.9"
        assert await address("c", "203.0.113.9, 127.0.0.1") == "203.0.113.9"
        assert await address("d", "who?") == "127.0.0.1"
    async with serving(admin_app(settings(), pool)) as client:
        status, _, _ = await client.request(
            "POST", "/workspaces", {"name": "e"}, headers={"X-Forwarded-For": "203.0.113.9"}
        )
        assert status == 201
        assert (await client.get("/audit"))["items"][0]["address"] == "127.0.0.1"
