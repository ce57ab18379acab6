"""Sessions: started with a token, stored as digests, ended by sign-out and timeouts, protected against other sites."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from admin.app import admin_app
from admin.identity.admin_tokens import new_token
from admin.identity.admins import Admin
from admin.identity.sessions import end_session, start_session
from admin.identity.sign_in import FAILURES_PER_MINUTE
from admin.settings import AdminSettings
from tests.integration.adminapi import ADA, ADA_TOKEN, BEN_TOKEN, SETTINGS, AdminClient, acme, admin, serving

__all__ = ["acme", "admin"]


async def sign_in(client: AdminClient, token: str = ADA_TOKEN, **headers: str | None) -> tuple[int, Any, str | None]:
    sent = {"Origin": client.origin, **headers}
    status, body, answer = await client.as_(None).request(
        "POST", "/session", {"token": token}, headers={name: value for name, value in sent.items() if value is not None}
    )
    return status, body, answer.headers.get("Set-Cookie")


async def test_a_session_started_with_a_token_acts_for_the_same_admin(acme: AdminClient, pool: asyncpg.Pool) -> None:
    status, session, cookie = await sign_in(acme)
    assert status == 200
    assert session["person"] == {"name": ADA.name, "email": ADA.email}
    assert session["workspaces"] is None
    assert cookie is not None
    assert re.fullmatch(
        rf"sitelatch-{acme.base.port}=[\w-]{{43}}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", cookie
    )
    ada = await acme.signed_in()
    made = await ada.create(workspace="acme", sites=["shop"])
    assert made["authorized_by"] == {"name": ADA.name, "email": ADA.email}
    assert (await ada.get("/session"))["csrf_token"] == ada.browser["X-CSRF-Token"]
    assert (await acme.get("/session"))["csrf_token"] is None
    kept = str(await pool.fetch("SELECT s.*, encode(digest, 'hex') FROM sitelatch.sessions s"))
    for secret in (ADA_TOKEN, ada.browser["Cookie"].partition("=")[2], ada.browser["X-CSRF-Token"]):
        assert secret not in kept


async def test_over_https_the_cookie_is_secure_and_host_only(acme: AdminClient) -> None:
    host = {"Host": "admin.example"}
    status, session, cookie = await sign_in(acme, Origin="https://admin.example", **host)
    assert status == 200
    assert cookie is not None
    assert cookie.startswith("__Host-sitelatch=")
    assert cookie.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
    sent = {"Cookie": cookie.partition(";")[0], "X-CSRF-Token": session["csrf_token"], **host}
    browser = replace(acme.as_(None), browser={**sent, "Origin": "https://admin.example"})
    assert (await browser.request("POST", "/workspaces", {"name": "new"}))[0] == 201
    # The session does not work for a page that was loaded over plain HTTP.
    assert (await browser.sending(Origin="http://admin.example").request("POST", "/workspaces", {"name": "x"}))[
        0
    ] == 403
    # Nor does a cookie that another host of the domain could set.
    value = sent["Cookie"].partition("=")[2]
    for name in ("sitelatch-80", "sitelatch-443", "sitelatch", "__host-sitelatch"):
        assert (await browser.sending(Cookie=f"{name}={value}").request("GET", "/users"))[0] == 401


async def test_a_session_works_only_for_pages_of_the_same_scheme(acme: AdminClient) -> None:
    """On loopback both schemes are safe, but another port's TLS server may not be ours."""
    for scheme, other in (("https", "http"), ("http", "https")):
        status, session, cookie = await sign_in(acme, Host="localhost", Origin=f"{scheme}://localhost")
        assert status == 200
        assert cookie is not None
        sent = {"Cookie": cookie.partition(";")[0], "X-CSRF-Token": session["csrf_token"], "Host": "localhost"}
        page = replace(acme.as_(None), browser={**sent, "Origin": f"{other}://localhost"})
        status, problem, _ = await page.request("POST", "/workspaces", {"name": "new"})
        assert (status, problem["code"]) == (403, "cross_site")
        assert (await page.sending(Origin=f"{scheme}://localhost").request("DELETE", "/session"))[0] == 204


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("admin.example", "http://admin.example"),  # plain HTTP over a network
        ("10.0.0.1:9091", "http://10.0.0.1:9091"),
        ("127.0.0.1.evil.example", "http://127.0.0.1.evil.example"),
        ("evil.example", "https://admin.example"),
        ("admin.example", "https://evil.example"),
        ("admin.example", "https://admin.example:8443"),
        ("admin.example", "https://admin.example/"),
        ("admin.example", "https://u@admin.example"),
        ("admin.example", "ftp://admin.example"),
        ("admin.example", "null"),
        ("admin.example", ""),
        ("admin.example", None),
    ],
)
async def test_sign_in_from_a_foreign_page_or_over_plain_http_is_refused(
    acme: AdminClient, pool: asyncpg.Pool, host: str, origin: str | None
) -> None:
    status, problem, cookie = await sign_in(acme, Host=host, Origin=origin)
    assert (status, problem["code"], cookie) == (403, "cross_site", None)
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 0


@pytest.mark.parametrize("host", ["[", "[::1", "a]b", "", "x:y:z"])
async def test_an_invalid_host_header_is_refused(acme: AdminClient, host: str) -> None:
    for browser in ({"Host": host}, {"Host": host, "Cookie": "sitelatch-80=x"}):
        assert (await replace(acme.as_(None), browser=browser).request("GET", "/users"))[0] == 401
    assert (await sign_in(acme, Host=host, Origin=f"http://{host}"))[0] == 403


@pytest.mark.parametrize("host", ["localhost:9091", "127.0.0.1:9091", "[::1]:9091", "LOCALHOST:9091"])
async def test_loopback_needs_no_https(acme: AdminClient, host: str) -> None:
    status, _, cookie = await sign_in(acme, Host=host, Origin=f"http://{host}")
    assert status == 200
    assert cookie is not None
    assert cookie.startswith("sitelatch-9091=")


async def test_signing_in_starts_a_new_session_and_ends_the_previous_one(acme: AdminClient) -> None:
    """A session token planted in the browser is not used for the admin's session (session fixation)."""
    planted = (await acme.signed_in(BEN_TOKEN)).browser["Cookie"]
    status, _, cookie = await sign_in(acme, Cookie=planted)
    assert status == 200
    assert cookie is not None
    assert cookie.partition(";")[0] != planted
    anonymous = acme.as_(None)
    assert (await replace(anonymous, browser={"Cookie": planted}).request("GET", "/users"))[0] == 401
    made_up = f"sitelatch-{acme.base.port}={'A' * 43}"
    status, _, cookie = await sign_in(acme, Cookie=made_up)
    assert cookie is not None
    assert not cookie.startswith(made_up)


async def test_signing_out_ends_the_session(acme: AdminClient, pool: asyncpg.Pool) -> None:
    ada, elsewhere = await acme.signed_in(), await acme.signed_in()
    status, _, answer = await ada.request("DELETE", "/session")
    assert status == 204
    assert answer.headers["Set-Cookie"].startswith(f"sitelatch-{acme.base.port}=; Path=/; Max-Age=0; HttpOnly")
    assert (await ada.request("GET", "/users"))[0] == 401
    assert (await elsewhere.request("GET", "/users"))[0] == 200
    assert (await acme.request("DELETE", "/session"))[0] == 204  # a bearer token has no session
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 1


@pytest.mark.parametrize("change", ["expires_at = now()", "used_at = now() - interval '1 hour 1 second'"])
async def test_a_session_times_out(acme: AdminClient, pool: asyncpg.Pool, change: str) -> None:
    ada = await acme.signed_in()
    await pool.execute(f"UPDATE sitelatch.sessions SET {change}")  # noqa: S608 - from the lines above
    status, problem, _ = await ada.request("GET", "/users")
    assert (status, problem["detail"]) == (401, "The session has ended. Sign in again.")
    await acme.signed_in()
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 1  # the ended one is pruned


async def test_using_a_session_extends_its_idle_timeout_but_not_its_absolute_one(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    ada = await acme.signed_in()
    end = await pool.fetchval("SELECT expires_at FROM sitelatch.sessions")
    await pool.execute("UPDATE sitelatch.sessions SET used_at = now() - interval '59 minutes'")
    assert (await ada.request("GET", "/users"))[0] == 200
    used = "SELECT used_at > now() - interval '10 seconds' FROM sitelatch.sessions"
    assert await pool.fetchval(used)
    assert await pool.fetchval("SELECT expires_at FROM sitelatch.sessions") == end
    assert await pool.fetchval("SELECT expires_at - created_at = interval '12 hours' FROM sitelatch.sessions")


async def test_every_replica_accepts_a_session_and_applies_its_own_configuration(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    ada = await acme.signed_in()
    host = {"Host": acme.base.authority}
    async with serving(admin_app(SETTINGS, pool)) as replica:
        there = replace(ada, base=replica.base, browser={**ada.browser, **host})
        assert (await there.request("GET", "/users"))[0] == 200
        assert (await there.request("POST", "/workspaces", {"name": "new"}))[0] == 201
    limited = SETTINGS.tokens[0].model_copy(update={"workspaces": ("acme",)})
    async with serving(admin_app(SETTINGS.model_copy(update={"tokens": (limited,)}), pool)) as replica:
        there = replace(ada, base=replica.base, browser={**ada.browser, **host})
        assert (await there.get("/session"))["workspaces"] == ["acme"]
        assert (await there.request("GET", "/users?workspace=globex"))[0] == 403
    async with serving(
        admin_app(SETTINGS.model_copy(update={"tokens": SETTINGS.tokens[1:]}), pool), BEN_TOKEN
    ) as replica:
        there = replace(ada, base=replica.base, browser={**ada.browser, **host})
        assert (await there.request("GET", "/users"))[0] == 401


async def test_concurrent_sign_ins_after_expired_sessions_do_not_deadlock(pool: asyncpg.Pool) -> None:
    """Each ends its own session and prunes the other's. If they waited for each other, PostgreSQL would abort one."""
    async with pool.acquire() as one, pool.acquire() as other:
        old = {connection: await start_session(connection, Admin(ADA), "token:x") for connection in (one, other)}
        await pool.execute("UPDATE sitelatch.sessions SET expires_at = now()")
        async with one.transaction(), other.transaction():
            for connection, token in old.items():
                await end_session(connection, token)
            await asyncio.gather(*(start_session(connection, Admin(ADA), "token:x") for connection in old))
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 2


async def test_a_session_whose_token_is_removed_ends_for_good(acme: AdminClient, pool: asyncpg.Pool) -> None:
    ben = await acme.signed_in(BEN_TOKEN)
    value = ben.browser["Cookie"].partition("=")[2]

    async def status_with(settings: AdminSettings) -> int:
        async with serving(admin_app(settings, pool)) as replica:
            cookie = {"Cookie": f"sitelatch-{replica.base.port}={value}"}
            return (await replica.as_(None).sending(**cookie).request("GET", "/users"))[0]

    assert await status_with(SETTINGS) == 200
    only_ada = tuple(token for token in SETTINGS.tokens if token.email == ADA.email)
    assert await status_with(SETTINGS.model_copy(update={"tokens": only_ada})) == 401
    assert await status_with(SETTINGS) == 401


async def test_failed_sign_ins_from_one_address_are_limited_and_lock_nobody_out(acme: AdminClient) -> None:
    for _ in range(FAILURES_PER_MINUTE):
        status, problem, _ = await sign_in(acme, new_token())
        assert (status, problem["code"]) == (401, "not_signed_in")
    status, problem, cookie = await sign_in(acme, new_token())
    assert (status, problem["code"], cookie) == (429, "too_many_attempts", None)
    assert (await sign_in(acme, ADA_TOKEN))[0] == 200
    assert (await acme.request("GET", "/users"))[0] == 200  # bearer tokens are not limited


async def test_successful_sign_ins_are_not_limited(acme: AdminClient) -> None:
    for _ in range(2 * FAILURES_PER_MINUTE):
        assert (await sign_in(acme))[0] == 200


async def test_a_wrong_token_is_refused_despite_a_session(acme: AdminClient) -> None:
    ada = await acme.signed_in()
    assert (await ada.sending(Authorization="Bearer wrong").request("GET", "/users"))[0] == 401


async def test_a_session_token_is_not_a_bearer_token(acme: AdminClient) -> None:
    ada = await acme.signed_in()
    value = ada.browser["Cookie"].partition("=")[2]
    assert (await acme.as_(value).request("GET", "/users"))[0] == 401
