"""Sign-in at the issuer: the messages between browser, issuer and Sitelatch, and the refusals."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
import pytest
from aiohttp import web
from yarl import URL

from admin.app import USE_CREDENTIALS, admin_app
from admin.identity.oidc_login import MAX_OPEN_LOGINS, OidcLogin
from admin.identity.provider import CALLBACK
from admin.identity.sign_in import FAILURES_PER_MINUTE, LOGINS_PER_MINUTE
from admin.settings import AdminSettings, AllowSettings, OidcSettings
from tests.integration.adminapi import BEN_TOKEN, SETTINGS, AdminClient, serve, serving
from tests.integration.jar import Jar
from tests.ports import free_port
from tests.provider import CLIENT, SECRET, Provider, foreign_key, running, signed, state_of

ADA = "ada@example.com"
PORT = free_port()
PUBLIC_URL = f"http://127.0.0.1:{PORT}/admin"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One provider for all tests in this module."""
    with running(free_port(), PUBLIC_URL) as provider:
        yield provider


def settings(issuer: str, **oidc: Any) -> AdminSettings:
    allow = (
        AllowSettings(emails=(ADA, "unverified@example.com")),
        AllowSettings(domains=("acme.example",), workspaces=("acme",)),
    )
    table = OidcSettings(**{"issuer": issuer, "client_id": CLIENT, "client_secret": SECRET, "allow": allow, **oidc})
    return SETTINGS.model_copy(update={"public_url": PUBLIC_URL, "oidc": table})


@pytest.fixture
async def admin(pool: asyncpg.Pool, provider: Provider) -> AsyncIterator[AdminClient]:
    """The admin API at its public URL, with the provider as its issuer."""
    async with serving(admin_app(settings(provider.issuer), pool), port=PORT) as client:
        yield client


def changed(url: str, **parameters: str | None) -> str:
    """Return the URL with changed parameters. None omits a parameter."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **parameters}
    return parts._replace(query=urlencode({name: value for name, value in query.items() if value is not None})).geturl()


def login_cookie(location: str) -> str:
    """Return the name of the cookie of the login that continues at this URL."""
    return f"sitelatch-{PORT}-login-{state_of(location)[:12]}"


async def sign_in(provider: Provider, location: str, email: str | None = ADA) -> str:
    return await asyncio.to_thread(provider.sign_in, location, email)


async def test_a_person_signs_in_at_the_issuer_and_signs_out(
    admin: AdminClient, provider: Provider, pool: asyncpg.Pool
) -> None:
    status, methods, _ = await admin.as_(None).request("GET", "/sign-in")
    assert (status, methods) == (200, {"token": True, "oidc": "127.0.0.1"})
    jar = Jar(admin)
    location = await jar.begin()
    asked = URL(location).query
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == PUBLIC_URL + CALLBACK
    assert asked["code_challenge_method"] == "S256"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"], jar.cookies[login_cookie(location)]}) == 4
    assert await jar.follow_redirect(await sign_in(provider, location)) == ""
    assert list(jar.cookies) == [f"sitelatch-{PORT}"]  # the login cookie is deleted
    status, session = await jar.whoami()
    assert status == 200
    assert session["person"] == {"name": "ada", "email": ADA}
    assert session["workspaces"] is None
    changes = {"Origin": admin.origin, "X-CSRF-Token": session["csrf_token"]}
    for headers in ({}, {**changes, "Origin": "http://evil.example"}, {**changes, "X-CSRF-Token": "x"}):
        assert (await jar.request("DELETE", "/session", headers))[0] == 403
    kept = str(await pool.fetch("SELECT * FROM sitelatch.sessions")) + str(
        await pool.fetch("SELECT * FROM sitelatch.oidc_logins")
    )
    assert str(jar.session) not in kept
    assert (await jar.request("DELETE", "/session", changes))[0] == 204
    assert (await jar.whoami())[0] == 401


async def test_the_login_cookie_is_short_lived_and_http_only(admin: AdminClient) -> None:
    _, body, answer = await Jar(admin).request("POST", "/sign-in/oidc", {"Origin": admin.origin})
    assert re.fullmatch(
        rf"{login_cookie(body['location'])}=[\w-]{{43}}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax",
        answer.headers["Set-Cookie"],
    )


async def test_cookies_are_secure_over_https(pool: asyncpg.Pool, provider: Provider) -> None:
    at = settings(provider.issuer).model_copy(update={"public_url": "https://keys.example/admin/"})
    async with serving(admin_app(at, pool)) as admin:
        host = {"Host": "keys.example"}
        _, _, answer = await Jar(admin).request("POST", "/sign-in/oidc", {"Origin": "https://keys.example", **host})
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-sitelatch-login-")
        assert cookie.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
        assert URL((await answer.json())["location"]).query["redirect_uri"] == f"https://keys.example/admin{CALLBACK}"
        for origin in ("http://keys.example", "https://keys.example:8443", "https://evil.example", "null", ""):
            status, problem, _ = await Jar(admin).request("POST", "/sign-in/oidc", {"Origin": origin, **host})
            assert (status, problem["code"]) == (403, "cross_site"), origin
        # From another address of ours, the browser would return without its cookie.
        for other in ("localhost:9091", "other.example"):
            headers = {"Host": other, "Origin": f"https://{other}"}
            status, problem, _ = await Jar(admin).request("POST", "/sign-in/oidc", headers)
            assert (status, problem["code"]) == (403, "cross_site")
            assert "https://keys.example/admin/" in problem["detail"]


@pytest.mark.parametrize(
    ("email", "code"),
    [(None, "denied"), ("eve@evil.example", "not_an_admin"), ("unverified@example.com", "not_an_admin")],
)
async def test_a_canceled_or_unauthorized_sign_in_starts_no_session(
    admin: AdminClient, provider: Provider, email: str | None, code: str
) -> None:
    jar = Jar(admin)
    assert await jar.follow_redirect(await sign_in(provider, await jar.begin(), email)) == code
    assert jar.session is None


async def test_a_sign_in_state_is_valid_only_once_and_only_in_its_own_browser(
    admin: AdminClient, provider: Provider, pool: asyncpg.Pool
) -> None:
    jar, other, anonymous = Jar(admin), Jar(admin), Jar(admin)
    location = await jar.begin()
    await other.begin()
    back = await sign_in(provider, location)
    kept = dict(jar.cookies)
    assert await anonymous.follow_redirect(back) == "expired"  # without a cookie
    assert await other.follow_redirect(back) == "expired"  # with another login's cookie
    for wrong in (None, "", "x", state_of(location)[:-1], f"{state_of(location)}x"):
        assert await jar.follow_redirect(changed(back, state=wrong)) == "expired"
    assert await jar.follow_redirect(f"{back}&state={state_of(location)}") == "expired"  # repeated
    assert anonymous.session is other.session is jar.session is None
    assert await jar.follow_redirect(back) == ""  # none of these ended the login
    again = Jar(admin, kept)
    async with serving(admin_app(settings(provider.issuer), pool)) as replica:
        # It cannot be replayed, neither here nor on another replica.
        assert await again.follow_redirect(back) == "expired"
        elsewhere = Jar(
            replica, {name.replace(str(PORT), str(replica.base.port)): value for name, value in kept.items()}
        )
        assert await elsewhere.follow_redirect(back) == "expired"
    assert again.session is None
    assert elsewhere.session is None


async def test_several_tabs_of_a_browser_can_sign_in_at_once(admin: AdminClient, provider: Provider) -> None:
    jar = Jar(admin)
    first, second = await jar.begin(), await jar.begin()
    begun = dict(jar.cookies)
    assert (
        len({state_of(url) for url in (first, second)} | {jar.cookies[login_cookie(url)] for url in (first, second)})
        == 4
    )
    for order in ((first, second), (second, first)):
        tabs = Jar(admin, dict(begun))
        if order[0] is second:
            first, second = await tabs.begin(), await tabs.begin()
            order = (second, first)
        for location in order:
            assert await tabs.follow_redirect(await sign_in(provider, location)) == ""
            assert (await tabs.whoami())[0] == 200
        assert login_cookie(order[0]) not in tabs.cookies
        assert login_cookie(order[1]) not in tabs.cookies


async def test_a_browser_keeps_the_newest_open_logins(admin: AdminClient, provider: Provider) -> None:
    jar = Jar(admin)
    locations = [await jar.begin() for _ in range(MAX_OPEN_LOGINS + 2)]
    assert list(jar.cookies) == [login_cookie(location) for location in locations[2:]]
    assert await jar.follow_redirect(await sign_in(provider, locations[1])) == "expired"
    for location in (locations[2], locations[-1]):
        assert await jar.follow_redirect(await sign_in(provider, location)) == ""


async def test_only_valid_cookie_names_of_logins_are_deleted(admin: AdminClient) -> None:
    planted = {
        f"sitelatch-{PORT}-login-{'x' * 65}": "",
        f"sitelatch-{PORT}-login-a b": "",
        f"sitelatch-{PORT}-login": "",
    }
    jar = Jar(admin, {**planted, **{f"sitelatch-{PORT}-login-{number:012}": "" for number in range(MAX_OPEN_LOGINS)}})
    await jar.begin()
    assert set(planted) <= set(jar.cookies)
    assert f"sitelatch-{PORT}-login-{0:012}" not in jar.cookies


async def test_a_database_outage_during_sign_in_is_reported_by_the_page(
    admin: AdminClient, provider: Provider, pool: asyncpg.Pool
) -> None:
    jar = Jar(admin)
    location = await sign_in(provider, await jar.begin())
    await pool.execute(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'terminating' USING ERRCODE = 'admin_shutdown'; END $$"
    )
    await pool.execute("CREATE TRIGGER stop BEFORE DELETE ON sitelatch.oidc_logins EXECUTE FUNCTION stop()")
    assert await jar.follow_redirect(location) == "database_unavailable"
    assert jar.session is None


async def test_exactly_one_of_several_concurrent_callbacks_succeeds(admin: AdminClient, provider: Provider) -> None:
    jar = Jar(admin)
    back = await sign_in(provider, await jar.begin())
    copies = [Jar(admin, dict(jar.cookies)) for _ in range(4)]
    codes = await asyncio.gather(*(copy.follow_redirect(back) for copy in copies))
    assert sorted(codes) == ["", "expired", "expired", "expired"]


async def test_a_login_expires(admin: AdminClient, provider: Provider, pool: asyncpg.Pool) -> None:
    jar = Jar(admin)
    back = await sign_in(provider, await jar.begin())
    await pool.execute("UPDATE sitelatch.oidc_logins SET expires_at = now()")
    assert await jar.follow_redirect(back) == "expired"
    await jar.begin()
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.oidc_logins") == 1  # the expired one is pruned


async def test_a_code_from_another_login_is_refused(admin: AdminClient, provider: Provider) -> None:
    """Code injection: a stolen code is used in the attacker's own login."""
    victim, attacker = Jar(admin), Jar(admin)
    theirs = await sign_in(provider, await victim.begin())
    own = await sign_in(provider, await attacker.begin(), "eve@evil.example")
    code = dict(parse_qsl(urlsplit(theirs).query))["code"]
    assert await attacker.follow_redirect(changed(own, code=code)) == "sign_in_refused"
    assert attacker.session is None


async def test_a_denial_without_iss_is_reported_as_a_denial(admin: AdminClient, provider: Provider) -> None:
    """The provider announces `iss` (RFC 9207), but other issuers leave it out of errors."""
    for parameters, code in (
        ({"iss": None}, "denied"),
        ({"iss": "https://evil.example"}, "sign_in_refused"),
        ({"iss": ""}, "sign_in_refused"),
        ({"iss": None, "error": "server_error"}, "sign_in_refused"),
    ):
        jar = Jar(admin)
        back = await sign_in(provider, await jar.begin(), None)
        assert await jar.follow_redirect(changed(back, **parameters)) == code, parameters
        assert jar.session is None


@pytest.mark.parametrize("parameters", [{"iss": "https://evil.example"}, {"iss": None}, {"code": None}, {"code": "x"}])
async def test_a_response_with_a_wrong_issuer_or_code_is_refused(
    admin: AdminClient, provider: Provider, parameters: dict[str, str | None]
) -> None:
    jar = Jar(admin)
    back = await sign_in(provider, await jar.begin())
    assert await jar.follow_redirect(changed(back, **parameters)) == "sign_in_refused"
    assert jar.session is None
    # The login has ended.
    assert await jar.follow_redirect(back) == "expired"


async def test_a_planted_session_cookie_is_replaced(admin: AdminClient, provider: Provider) -> None:
    planted = (await admin.signed_in(BEN_TOKEN)).browser["Cookie"].partition("=")[2]
    for before in (planted, "A" * 43):
        jar = Jar(admin, {f"sitelatch-{PORT}": before})
        assert await jar.follow_redirect(await sign_in(provider, await jar.begin())) == ""
        assert jar.session not in (None, before)
        assert (await Jar(admin, {f"sitelatch-{PORT}": before}).whoami())[0] == 401


async def test_failed_logins_do_not_keep_others_at_the_address_from_signing_in(
    admin: AdminClient, provider: Provider
) -> None:
    jar = Jar(admin)
    back = await sign_in(provider, await jar.begin())
    for _ in range(FAILURES_PER_MINUTE + 1):
        failing = Jar(admin)
        state = state_of(await failing.begin())
        assert await failing.follow_redirect(changed(back, state=state, code="x")) == "sign_in_refused"
        assert await Jar(admin).follow_redirect(f"{PUBLIC_URL}{CALLBACK}") == "expired"  # as an image, without cookies
        assert await jar.follow_redirect(changed(back, state="x")) == "expired"  # as a window, with the Lax cookie
    assert await jar.follow_redirect(back) == ""
    assert await jar.follow_redirect(await sign_in(provider, await jar.begin())) == ""


async def test_a_head_request_does_not_finish_a_login(admin: AdminClient, provider: Provider) -> None:
    jar = Jar(admin)
    back = await sign_in(provider, await jar.begin())
    status, _, _ = await jar.request("HEAD", f"{CALLBACK}?{urlsplit(back).query}", {})
    assert status == 303
    assert jar.session is None
    assert await jar.follow_redirect(back) == ""


async def test_logins_from_one_address_are_limited(admin: AdminClient, pool: asyncpg.Pool) -> None:
    started = 0
    while (answer := await Jar(admin).request("POST", "/sign-in/oidc", {"Origin": admin.origin}))[0] == 200:
        started += 1
        assert started < 2 * LOGINS_PER_MINUTE
    assert (answer[0], answer[1]["code"]) == (429, "too_many_attempts")
    assert started >= LOGINS_PER_MINUTE
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.oidc_logins") == started


async def test_a_session_ends_when_the_configuration_no_longer_admits_its_person(
    admin: AdminClient, provider: Provider, pool: asyncpg.Pool
) -> None:
    jar = Jar(admin)
    assert await jar.follow_redirect(await sign_in(provider, await jar.begin())) == ""

    async def at(settings: AdminSettings) -> tuple[int, Any]:
        async with serving(admin_app(settings, pool)) as replica:
            cookie = {f"sitelatch-{replica.base.port}": str(jar.session)}
            return await Jar(replica, cookie).whoami()

    issuer = provider.issuer
    assert (await at(settings(issuer)))[0] == 200
    limited = (AllowSettings(domains=("example.com",), workspaces=("acme",)),)
    assert (await at(settings(issuer, allow=limited)))[1]["workspaces"] == ["acme"]
    for changed_settings in (
        settings(issuer, allow=(AllowSettings(emails=("ben@example.com",)),)),
        settings(issuer, allow=(AllowSettings(claim="roles", values=("admin",)),)),
        settings("https://other.example"),
        SETTINGS,
    ):
        jar = Jar(admin)
        assert await jar.follow_redirect(await sign_in(provider, await jar.begin())) == ""
        assert (await at(changed_settings))[0] == 401
        # The session has ended for good, even if the configuration admits the person again.
        assert (await at(settings(issuer)))[0] == 401
        assert await pool.fetchval("SELECT count(*) FROM sitelatch.sessions") == 1


async def test_without_an_issuer_there_is_no_oidc_sign_in(pool: asyncpg.Pool) -> None:
    async with serving(admin_app(SETTINGS, pool), port=PORT) as admin:
        assert (await admin.as_(None).get("/sign-in"))["oidc"] is None
        jar = Jar(admin)
        assert (await jar.request("POST", "/sign-in/oidc", {"Origin": admin.origin}))[0] == 404
        assert await jar.follow_redirect(f"{PUBLIC_URL}{CALLBACK}?code=a&state=b") == "expired"


# The remaining tests need an issuer that misbehaves, which a certified provider does not.


KEY = foreign_key("one")


class Hostile:
    """An issuer whose responses the test chooses."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.token: Any = None
        self.userinfo: Any = None
        self.forms: list[dict[str, str]] = []
        self.login: OidcLogin | None = None
        self.auth_methods: list[str] | None = None
        self.metadata: dict[str, Any] = {}
        """Changed members of the discovery document."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        issuer = f"http://{request.host}"
        match request.path:
            case "/jwks":
                return web.json_response({"keys": [KEY.as_dict(private=False)]})
            case "/token":
                self.forms.append({**dict((await request.post()).items()), **request.headers})  # type: ignore[arg-type]
                if callable(self.token):
                    return self.token()  # type: ignore[no-any-return]
                assert self.login is not None
                claims = {
                    "iss": issuer,
                    "aud": CLIENT,
                    "sub": "1",
                    "exp": 2_000_000_000,
                    "nonce": self.login.nonce,
                    "name": "Ada",
                    "email": ADA,
                    "email_verified": True,
                    **self.claims,
                }
                claims = {name: value for name, value in claims.items() if value is not None}
                token = signed({"alg": "RS256", "kid": "one"}, claims, KEY)
                return web.json_response({"id_token": token, "access_token": "opaque", "token_type": "Bearer"})
            case "/me" if isinstance(self.userinfo, str):
                return web.Response(text=self.userinfo, content_type="application/jwt")
            case "/me":
                return web.json_response(self.userinfo)
        document = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/auth?tenant=x",
            "token_endpoint": f"{issuer}/token",
            "userinfo_endpoint": f"{issuer}/me",
            "jwks_uri": f"{issuer}/jwks",
            **self.metadata,
        }
        return web.json_response(
            {**document, **({"token_endpoint_auth_methods_supported": self.auth_methods} if self.auth_methods else {})}
        )


@pytest.fixture
async def hostile() -> AsyncIterator[tuple[Hostile, str]]:
    issuer = Hostile()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", issuer.serve)
    runner, port = await serve(app)
    yield issuer, f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def started(jar: Jar) -> OidcLogin:
    location = await jar.begin()
    assert "/auth?tenant=x&response_type=code" in location
    return OidcLogin(jar.cookies[login_cookie(location)])


async def try_login(admin: AdminClient, issuer: Hostile, jar: Jar | None = None, **parameters: str) -> str:
    jar = jar or Jar(admin)
    issuer.login = await started(jar)
    query = {"code": "c", "state": issuer.login.state, **parameters}
    refused = await jar.follow_redirect(f"{PUBLIC_URL}{CALLBACK}?{urlencode(query)}")
    assert (jar.session is None) == bool(refused)
    return refused


async def test_only_the_id_token_of_this_login_is_accepted(pool: asyncpg.Pool, hostile: tuple[Hostile, str]) -> None:
    issuer, url = hostile
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, ""),
        ({"nonce": None}, "sign_in_refused"),
        ({"nonce": "another"}, "sign_in_refused"),
        ({"aud": "another"}, "sign_in_refused"),
        ({"iss": "https://evil.example"}, "sign_in_refused"),
        ({"exp": 1_000_000_000}, "sign_in_refused"),
        ({"sub": None}, "sign_in_refused"),
        ({"email": "eve@evil.example"}, "not_an_admin"),
        ({"email_verified": False}, "not_an_admin"),
        ({"name": "Ada \x00"}, ""),  # not storable in a database
    ]
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        for claims, code in cases:
            issuer.claims = claims
            assert await try_login(admin, issuer) == code, claims


async def test_userinfo_adds_claims_only_if_it_is_about_the_same_person(
    pool: asyncpg.Pool, hostile: tuple[Hostile, str]
) -> None:
    issuer, url = hostile
    issuer.claims = {"email": None, "email_verified": None, "name": None}
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        said = {"sub": "1", "email": ADA, "email_verified": True}
        for userinfo, code in (
            (said, ""),
            ({**said, "sub": "2"}, "sign_in_refused"),
            ({"email": ADA, "email_verified": True}, "sign_in_refused"),
            ({**said, "email_verified": False}, "not_an_admin"),
            ({"sub": "1"}, "not_an_admin"),
            ([], "sign_in_refused"),
        ):
            issuer.userinfo = userinfo
            assert await try_login(admin, issuer) == code, userinfo
        # A flag applies only to the email from the same source.
        issuer.claims = {"email_verified": True, "email": None, "name": None}
        issuer.userinfo = {**said, "email_verified": False}
        assert await try_login(admin, issuer) == "not_an_admin"
        issuer.claims = {"email": ADA, "email_verified": False, "name": None}
        issuer.userinfo = said
        assert await try_login(admin, issuer) == "not_an_admin"


async def test_an_issuer_may_have_no_userinfo_endpoint(pool: asyncpg.Pool, hostile: tuple[Hostile, str]) -> None:
    issuer, url = hostile
    issuer.metadata, issuer.claims = {"userinfo_endpoint": None}, {"name": None}
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        assert await try_login(admin, issuer) == ""


async def test_the_log_says_that_userinfo_is_a_jwt(
    pool: asyncpg.Pool, hostile: tuple[Hostile, str], logged: io.StringIO
) -> None:
    issuer, url = hostile
    issuer.claims, issuer.userinfo = {"name": None}, "e30.e30.e30"
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        assert await try_login(admin, issuer) == "sign_in_refused"
    assert "its response is a JWT" in logged.getvalue()


async def test_userinfo_can_confirm_the_email_of_the_id_token(pool: asyncpg.Pool, hostile: tuple[Hostile, str]) -> None:
    issuer, url = hostile
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        for claims, userinfo, code in (
            ({"email_verified": None}, {"email": ADA, "email_verified": True}, ""),
            ({"email_verified": None}, {"email": ADA.upper(), "email_verified": "true"}, ""),
            ({"email_verified": None}, {"email_verified": True}, ""),
            ({"email_verified": None}, {"email": None, "email_verified": True}, ""),
            ({"email_verified": None, "email": ""}, {"email": ADA, "email_verified": True}, ""),
            ({"email_verified": None}, {"email": "ada@evil.example", "email_verified": True}, "email_verified_missing"),
            ({"email_verified": None}, {"email": [ADA], "email_verified": True}, "email_verified_missing"),
            ({"email_verified": None}, {"email": ADA, "email_verified": None}, "email_verified_missing"),
            ({"email_verified": None}, {"email": ADA, "email_verified": False}, "email_not_verified"),
            ({"email_verified": False}, {"email": ADA, "email_verified": True}, "email_not_verified"),
        ):
            issuer.claims, issuer.userinfo = claims, {"sub": "1", **userinfo}
            jar = Jar(admin)
            assert await try_login(admin, issuer, jar) == ("not_an_admin" if code else ""), (claims, userinfo)
            assert jar.reason == code, (claims, userinfo)


async def test_the_log_says_why_a_person_is_not_an_admin(
    pool: asyncpg.Pool, hostile: tuple[Hostile, str], logged: io.StringIO
) -> None:
    issuer, url = hostile
    issuer.userinfo = {"sub": "1"}
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        for claims, reason, person in (
            ({"email": "eve@evil.example"}, "not_listed", "e***@evil.example"),
            ({"email_verified": False}, "email_not_verified", "a***@example.com"),
            ({"email_verified": 1}, "email_not_verified", "a***@example.com"),
            ({"email_verified": None}, "email_verified_missing", "a***@example.com"),
            ({"email": None}, "no_email", "1"),
            ({"email": "ada@evil@example.com"}, "invalid_email", "a***@example.com"),
        ):
            logged.seek(0)
            logged.truncate()
            issuer.claims = claims
            jar = Jar(admin)
            assert await try_login(admin, issuer, jar) == "not_an_admin"
            assert jar.reason == reason
            (event,) = [
                event
                for line in logged.getvalue().splitlines()
                if (event := json.loads(line))["event"] == "not_an_admin"
            ]
            assert (event["reason"], event["person"]) == (reason, person)
            assert "ada@" not in logged.getvalue()


async def test_errors_from_the_token_endpoint_are_reported_as_codes(
    pool: asyncpg.Pool, hostile: tuple[Hostile, str]
) -> None:
    issuer, url = hostile
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        for answer, code in (
            (lambda: web.json_response({"error": "invalid_client"}, status=401), "client_refused"),
            (lambda: web.json_response({"error": "invalid_grant"}, status=400), "sign_in_refused"),
            (lambda: web.json_response({"error": ["x"]}, status=400), "sign_in_refused"),
            (lambda: web.json_response({"access_token": "x"}), "sign_in_refused"),
            (lambda: web.json_response({"id_token": ["x"]}), "sign_in_refused"),
            (lambda: web.json_response({"id_token": "a.b.c"}), "sign_in_refused"),
            (lambda: web.Response(text="<html>", status=502), "sign_in_refused"),
            (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), "sign_in_refused"),
        ):
            issuer.token = answer
            assert await try_login(admin, issuer) == code


async def test_the_log_names_the_endpoint_that_failed(
    pool: asyncpg.Pool, hostile: tuple[Hostile, str], logged: io.StringIO
) -> None:
    issuer, url = hostile
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        issuer.claims = {"name": None}
        for endpoint, token, userinfo in (
            ("userinfo", None, []),
            ("token", lambda: web.Response(text="<html>", status=502), {}),
        ):
            logged.seek(0)
            logged.truncate()
            issuer.token, issuer.userinfo = token, userinfo
            assert await try_login(admin, issuer) == "sign_in_refused"
            events = [json.loads(line) for line in logged.getvalue().splitlines()]
            assert [event["endpoint"] for event in events if event["event"] == "issuer_refused_sign_in"] == [endpoint]


async def test_errors_in_the_callback_are_reported_as_codes(pool: asyncpg.Pool, hostile: tuple[Hostile, str]) -> None:
    issuer, url = hostile
    async with serving(admin_app(settings(url), pool), port=PORT) as admin:
        for error, code in (
            ("access_denied", "denied"),
            ("server_error", "sign_in_refused"),
            ("unauthorized_client", "client_refused"),
            ("<script>", "sign_in_refused"),
        ):
            assert await try_login(admin, issuer, error=error, error_description="<b>") == code
        assert issuer.forms == []


async def test_no_secret_of_a_sign_in_is_logged(
    pool: asyncpg.Pool, hostile: tuple[Hostile, str], logged: io.StringIO
) -> None:
    issuer, url = hostile
    secret, code = "s3cret-of-the-client", "c0de-of-this-sign-in"
    secrets = {secret, code}

    def lost() -> web.Response:
        raise web.HTTPBadGateway(text=f"{secret} {code}")

    async with serving(admin_app(settings(url, client_secret=secret), pool), port=PORT) as admin:
        for answer, refused in (
            (None, ""),
            (lost, "sign_in_refused"),
            (lambda: web.json_response({"id_token": f"a.{code}.c"}), "sign_in_refused"),
            (
                lambda: web.json_response({"error": f"{code}!", "error_description": secret}, status=400),
                "sign_in_refused",
            ),
        ):
            issuer.token = answer
            jar = Jar(admin)
            issuer.login = login = await started(jar)
            secrets |= {login.secret, login.state, login.nonce, login.verifier}
            query = urlencode({"code": code, "state": login.state, "error_description": secret})
            assert await jar.follow_redirect(f"{PUBLIC_URL}{CALLBACK}?{query}") == refused
            secrets |= {jar.session} if jar.session else set()
        assert (
            await Jar(admin).follow_redirect(f"{PUBLIC_URL}{CALLBACK}?code={code}&state=x&error={secret}") == "expired"
        )
    text = logged.getvalue()
    assert "sign_in_refused" in text
    assert not [each for each in secrets if each in text]


@pytest.mark.parametrize(
    ("auth_methods", "secret"),
    [(["client_secret_post"], "s%"), (["client_secret_post", "client_secret_basic"], "s%"), (None, "s%"), (None, None)],
)
async def test_the_client_secret_is_sent_as_the_issuer_expects_it(
    pool: asyncpg.Pool, hostile: tuple[Hostile, str], auth_methods: list[str] | None, secret: str | None
) -> None:
    issuer, url = hostile
    issuer.auth_methods = auth_methods
    async with serving(admin_app(settings(url, client_secret=secret), pool), port=PORT) as admin:
        assert await try_login(admin, issuer) == ""
    form = issuer.forms[0]
    assert form["code"] == "c"
    assert form["redirect_uri"] == PUBLIC_URL + CALLBACK
    assert issuer.login is not None
    assert form["code_verifier"] == issuer.login.verifier
    in_body = auth_methods == ["client_secret_post"]
    assert form.get("client_secret") == ("s%" if in_body else None)
    assert form.get("client_id") == (CLIENT if in_body or secret is None else None)
    assert form.get("Authorization") == ("Basic c2l0ZWxhdGNoOnMlMjU=" if secret and not in_body else None)


async def test_a_new_client_secret_is_used_without_a_restart(pool: asyncpg.Pool, hostile: tuple[Hostile, str]) -> None:
    issuer, url = hostile
    app = admin_app(settings(url, client_secret="old"), pool)
    async with serving(app, port=PORT) as admin:
        app[USE_CREDENTIALS](settings(url, client_secret="s%"))
        assert await try_login(admin, issuer) == ""
    assert issuer.forms[0]["Authorization"] == "Basic c2l0ZWxhdGNoOnMlMjU="


async def test_an_issuer_outage_is_reported_before_the_redirect(pool: asyncpg.Pool) -> None:
    async with serving(admin_app(settings(f"http://127.0.0.1:{free_port()}"), pool), port=PORT) as admin:
        status, problem, answer = await Jar(admin).request("POST", "/sign-in/oidc", {"Origin": admin.origin})
        assert (status, problem["code"]) == (503, "issuer_unavailable")
        assert "Set-Cookie" not in answer.headers
