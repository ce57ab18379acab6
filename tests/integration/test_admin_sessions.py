"""Sessions: traded for a token, kept as a digest, ended by signing out and by time, of no use to other sites."""

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
from tests.integration.adminapi import ADA, ADA_TOKEN, BEN_TOKEN, SETTINGS, AdminClient, acme, admin, serving

__all__ = ["acme", "admin"]


async def sign_in(client: AdminClient, token: str = ADA_TOKEN, **headers: str | None) -> tuple[int, Any, str | None]:
    sent = {"Origin": client.origin, **headers}
    status, body, answer = await client.as_(None).ask(
        "POST", "/session", {"token": token}, headers={name: value for name, value in sent.items() if value is not None}
    )
    return status, body, answer.headers.get("Set-Cookie")


async def test_a_token_is_traded_for_a_session_that_does_what_the_token_does(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
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


async def test_over_https_the_cookie_is_secure_and_of_this_host_alone(acme: AdminClient) -> None:
    host = {"Host": "admin.example"}
    status, session, cookie = await sign_in(acme, Origin="https://admin.example", **host)
    assert status == 200
    assert cookie is not None
    assert cookie.startswith("__Host-sitelatch=")
    assert cookie.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
    sent = {"Cookie": cookie.partition(";")[0], "X-CSRF-Token": session["csrf_token"], **host}
    browser = replace(acme.as_(None), browser={**sent, "Origin": "https://admin.example"})
    assert (await browser.ask("POST", "/workspaces", {"name": "new"}))[0] == 201
    # The same session is of no use from where a page came over plain http.
    assert (await browser.sending(Origin="http://admin.example").ask("POST", "/workspaces", {"name": "x"}))[0] == 403
    # Nor is a cookie that anybody on a neighbouring host could have set.
    value = sent["Cookie"].partition("=")[2]
    for name in ("sitelatch-80", "sitelatch-443", "sitelatch", "__host-sitelatch"):
        assert (await browser.sending(Cookie=f"{name}={value}").ask("GET", "/users"))[0] == 401


async def test_a_session_of_one_scheme_is_of_no_use_to_pages_of_another(acme: AdminClient) -> None:
    """On loopback both are safe, but what stands behind another port's TLS need not be ours."""
    for begun, other in (("https", "http"), ("http", "https")):
        status, session, cookie = await sign_in(acme, Host="localhost", Origin=f"{begun}://localhost")
        assert status == 200
        assert cookie is not None
        sent = {"Cookie": cookie.partition(";")[0], "X-CSRF-Token": session["csrf_token"], "Host": "localhost"}
        page = replace(acme.as_(None), browser={**sent, "Origin": f"{other}://localhost"})
        status, problem, _ = await page.ask("POST", "/workspaces", {"name": "new"})
        assert (status, problem["code"]) == (403, "cross_site")
        assert (await page.sending(Origin=f"{begun}://localhost").ask("DELETE", "/session"))[0] == 204


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("admin.example", "http://admin.example"),  # plain http, where others listen
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
async def test_nobody_signs_in_from_a_foreign_page_or_over_plain_http(
    acme: AdminClient, pool: asyncpg.Pool, host: str, origin: str | None
) -> None:
    status, problem, cookie = await sign_in(acme, Host=host, Origin=origin)
    assert (status, problem["code"], cookie) == (403, "cross_site", None)
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 0


@pytest.mark.parametrize("host", ["[", "[::1", "a]b", "", "x:y:z"])
async def test_a_host_that_is_none_is_nobodys(acme: AdminClient, host: str) -> None:
    for browser in ({"Host": host}, {"Host": host, "Cookie": "sitelatch-80=x"}):
        assert (await replace(acme.as_(None), browser=browser).ask("GET", "/users"))[0] == 401
    assert (await sign_in(acme, Host=host, Origin=f"http://{host}"))[0] == 403


@pytest.mark.parametrize("host", ["localhost:9091", "127.0.0.1:9091", "[::1]:9091", "LOCALHOST:9091"])
async def test_loopback_needs_no_https(acme: AdminClient, host: str) -> None:
    status, _, cookie = await sign_in(acme, Host=host, Origin=f"http://{host}")
    assert status == 200
    assert cookie is not None
    assert cookie.startswith("sitelatch-9091=")


async def test_signing_in_begins_a_new_session_and_ends_the_one_before(acme: AdminClient) -> None:
    """A session's id that somebody planted in the browser never becomes the admin's."""
    planted = (await acme.signed_in(BEN_TOKEN)).browser["Cookie"]
    status, _, cookie = await sign_in(acme, Cookie=planted)
    assert status == 200
    assert cookie is not None
    assert cookie.partition(";")[0] != planted
    nobody = acme.as_(None)
    assert (await replace(nobody, browser={"Cookie": planted}).ask("GET", "/users"))[0] == 401
    made_up = f"sitelatch-{acme.base.port}={'A' * 43}"
    status, _, cookie = await sign_in(acme, Cookie=made_up)
    assert cookie is not None
    assert not cookie.startswith(made_up)


async def test_a_session_ends_with_signing_out(acme: AdminClient, pool: asyncpg.Pool) -> None:
    ada, elsewhere = await acme.signed_in(), await acme.signed_in()
    status, _, answer = await ada.ask("DELETE", "/session")
    assert status == 204
    assert answer.headers["Set-Cookie"].startswith(f"sitelatch-{acme.base.port}=; Path=/; Max-Age=0; HttpOnly")
    assert (await ada.ask("GET", "/users"))[0] == 401
    assert (await elsewhere.ask("GET", "/users"))[0] == 200
    assert (await acme.ask("DELETE", "/session"))[0] == 204  # a token has none
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 1


@pytest.mark.parametrize("change", ["expires_at = now()", "used_at = now() - interval '1 hour 1 second'"])
async def test_a_session_ends_by_itself(acme: AdminClient, pool: asyncpg.Pool, change: str) -> None:
    ada = await acme.signed_in()
    await pool.execute(f"UPDATE sitelatch.sessions SET {change}")  # noqa: S608 - from the lines above
    status, problem, _ = await ada.ask("GET", "/users")
    assert (status, problem["detail"]) == (401, "The session has ended. Sign in again.")
    await acme.signed_in()
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 1  # ended ones are forgotten


async def test_use_keeps_a_session_from_being_idle_but_not_from_its_end(acme: AdminClient, pool: asyncpg.Pool) -> None:
    ada = await acme.signed_in()
    end = await pool.fetchval("SELECT expires_at FROM sitelatch.sessions")
    await pool.execute("UPDATE sitelatch.sessions SET used_at = now() - interval '59 minutes'")
    assert (await ada.ask("GET", "/users"))[0] == 200
    used = "SELECT used_at > now() - interval '10 seconds' FROM sitelatch.sessions"
    assert await pool.fetchval(used)
    assert await pool.fetchval("SELECT expires_at FROM sitelatch.sessions") == end
    assert await pool.fetchval("SELECT expires_at - created_at = interval '12 hours' FROM sitelatch.sessions")


async def test_every_replica_knows_a_session_and_what_the_config_now_says(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    ada = await acme.signed_in()
    host = {"Host": acme.base.authority}
    async with serving(admin_app(SETTINGS, pool)) as replica:
        there = replace(ada, base=replica.base, browser={**ada.browser, **host})
        assert (await there.ask("GET", "/users"))[0] == 200
        assert (await there.ask("POST", "/workspaces", {"name": "new"}))[0] == 201
    limited = SETTINGS.tokens[0].model_copy(update={"workspaces": ("acme",)})
    async with serving(admin_app(SETTINGS.model_copy(update={"tokens": (limited,)}), pool)) as replica:
        there = replace(ada, base=replica.base, browser={**ada.browser, **host})
        assert (await there.get("/session"))["workspaces"] == ["acme"]
        assert (await there.ask("GET", "/users?workspace=globex"))[0] == 403
    async with serving(
        admin_app(SETTINGS.model_copy(update={"tokens": SETTINGS.tokens[1:]}), pool), BEN_TOKEN
    ) as replica:
        there = replace(ada, base=replica.base, browser={**ada.browser, **host})
        assert (await there.ask("GET", "/users"))[0] == 401


async def test_two_whose_sessions_had_ended_sign_in_at_once(pool: asyncpg.Pool) -> None:
    """Each ends their own and forgets the other's; if they waited for each other, PostgreSQL would turn one away."""
    async with pool.acquire() as one, pool.acquire() as other:
        old = {connection: await start_session(connection, Admin(ADA), "token:x") for connection in (one, other)}
        await pool.execute("UPDATE sitelatch.sessions SET expires_at = now()")
        async with one.transaction(), other.transaction():
            for connection, token in old.items():
                await end_session(connection, token)
            await asyncio.gather(*(start_session(connection, Admin(ADA), "token:x") for connection in old))
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 2


async def test_attempts_from_one_address_are_slowed(acme: AdminClient) -> None:
    for _ in range(FAILURES_PER_MINUTE):
        status, problem, _ = await sign_in(acme, new_token())
        assert (status, problem["code"]) == (401, "not_signed_in")
    for token in (new_token(), ADA_TOKEN):
        status, problem, cookie = await sign_in(acme, token)
        assert (status, problem["code"], cookie) == (429, "too_many_attempts", None)
    assert (await acme.ask("GET", "/users"))[0] == 200  # a right token as such is not held up


async def test_right_tokens_are_not_slowed(acme: AdminClient) -> None:
    for _ in range(2 * FAILURES_PER_MINUTE):
        assert (await sign_in(acme))[0] == 200


async def test_a_wrong_token_beside_a_session_is_refused(acme: AdminClient) -> None:
    ada = await acme.signed_in()
    assert (await ada.sending(Authorization="Bearer wrong").ask("GET", "/users"))[0] == 401


async def test_a_session_token_is_no_bearer_token(acme: AdminClient) -> None:
    ada = await acme.signed_in()
    value = ada.browser["Cookie"].partition("=")[2]
    assert (await acme.as_(value).ask("GET", "/users"))[0] == 401
