"""JWTs of the issuer as bearer tokens for the admin API, with a real provider behind."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from joserfc.jwk import RSAKey

from admin.app import admin_app
from admin.identity.oidc_issuer import FRESH_SECONDS, REFRESHES_PER_MINUTE, RETRY_SECONDS, STALE_SECONDS, Issuer
from admin.problems import IssuerDown
from admin.settings import AdminSettings, AllowSettings, OidcSettings
from tests.integration.adminapi import SETTINGS, AdminClient, serve, serving
from tests.ports import free_port
from tests.provider import API, CLIENT, SECRET, Provider, foreign_key, opened, running, signed, unsigned

ADA, BEN, CYD, DAN = "ada@example.com", "ben@Acme.example", "unverified@example.com", "grouped@elsewhere.example"
LATE = "late@acme.example"
"""Gets tokens that are expired already."""
PUBLIC_URL = "http://127.0.0.1:9/admin"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One provider for all tests of this module."""
    with running(free_port(), PUBLIC_URL, ADA, BEN, CYD, DAN, LATE, "eve@evil.example") as provider:
        yield provider


def settings(issuer: str, **oidc: Any) -> AdminSettings:
    allow = (
        AllowSettings(emails=(ADA, CYD)),
        AllowSettings(domains=("acme.example",), workspaces=("acme",)),
        AllowSettings(claim="groups", values=("sitelatch-admins",), workspaces=("acme", "globex")),
    )
    table = OidcSettings(
        **{"issuer": issuer, "client_id": CLIENT, "client_secret": SECRET, "audience": API, "allow": allow, **oidc}
    )
    return SETTINGS.model_copy(update={"public_url": PUBLIC_URL, "oidc": table})


@pytest.fixture
async def admin(pool: asyncpg.Pool, provider: Provider) -> AsyncIterator[AdminClient]:
    """The admin API, which knows the provider."""
    async with serving(admin_app(settings(provider.issuer), pool)) as client:
        yield client


async def whoami(client: AdminClient, token: str) -> tuple[int, Any]:
    status, body, _ = await client.as_(token).ask("GET", "/session")
    return status, body


async def test_a_token_of_the_issuer_opens_the_api_to_whom_the_allow_list_names(
    admin: AdminClient, provider: Provider
) -> None:
    status, session = await whoami(admin, provider.token(ADA))
    assert status == 200
    assert session["person"] == {"name": "ada", "email": ADA}
    assert session["workspaces"] is None
    assert session["csrf_token"] is None
    assert (await whoami(admin, provider.token(BEN)))[1]["workspaces"] == ["acme"]
    assert (await whoami(admin, provider.token(DAN)))[1]["workspaces"] == ["acme", "globex"]
    ada = admin.as_(provider.token(ADA))
    assert (await ada.ask("POST", "/workspaces", {"name": "acme"}))[0] == 201
    made = await ada.create(workspace="acme", all_sites=True)
    assert made["authorized_by"] == {"name": "ada", "email": ADA}


@pytest.mark.parametrize("email", ["eve@evil.example", CYD])
async def test_being_signed_in_or_an_email_that_nobody_verified_makes_no_admin(
    admin: AdminClient, provider: Provider, email: str
) -> None:
    status, problem = await whoami(admin, provider.token(email))
    assert (status, problem["code"]) == (403, "not_an_admin")


async def test_tokens_that_are_not_the_issuers_for_this_api_are_refused(admin: AdminClient, provider: Provider) -> None:
    good = provider.token(ADA)
    head, claims = opened(good)
    body, signature = good.split(".")[1:]
    key, other = foreign_key(head["kid"]), foreign_key("another")
    async with admin.session.get(f"{provider.issuer}/jwks") as answer:
        issuers = (await answer.json())["keys"][0]
    public = RSAKey.import_key(issuers).as_pem(private=False)
    forged = {
        "no signature": f"{unsigned({**head, 'alg': 'none'})}.{body}.",
        "no algorithm": f"{unsigned({'typ': 'JWT'})}.{body}.{signature}",
        "none, with a signature": f"{unsigned({**head, 'alg': 'none'})}.{body}.{signature}",
        "None": f"{unsigned({**head, 'alg': 'None'})}.{body}.",
        "an HMAC by the public key": signed({**head, "alg": "HS256"}, claims, public),
        "an HMAC by the key set": signed({**head, "alg": "HS256"}, claims, json.dumps(issuers).encode()),
        "a foreign key of the same name": signed(head, claims, key),
        "a foreign key of another name": signed({**head, "kid": "another"}, claims, other),
        "a key in the token": signed({**head, "jwk": other.as_dict(private=False)}, claims, other),
        "other claims": f"{unsigned(head)}.{unsigned({**claims, 'email': 'ben@acme.example'})}.{signature}",
        "another algorithm": f"{unsigned({**head, 'alg': 'RS512'})}.{body}.{signature}",
        "a part too many": f"{good}.",
        "a part too few": good.rpartition(".")[0],
        "another audience": provider.token(ADA, "https://other.example"),
        "nothing": "..",
        "not base64": "a.b.c",
        "a list": f"{unsigned(head)}.{unsigned({})}.{signature}",
        "expired": provider.token(LATE),
    }
    assert opened(forged["expired"])[1]["exp"] < time.time() - 30
    assert (await whoami(admin, good))[0] == 200
    for name, token in forged.items():
        status, problem = await whoami(admin, token)
        assert (status, problem["code"]) == (401, "not_signed_in"), name
        assert not token or token not in json.dumps(problem)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_new_key_of_the_issuer_is_found_and_the_old_one_counts_no_more(
    admin: AdminClient, provider: Provider, algorithm: str
) -> None:
    before = provider.token(ADA)
    assert (await whoami(admin, before))[0] == 200
    provider.rotate(algorithm)
    assert opened(provider.token(ADA))[0]["alg"] == algorithm
    assert (await whoami(admin, provider.token(ADA)))[0] == 200
    assert (await whoami(admin, before))[0] == 401


KEY = foreign_key("one")


class Counted:
    """An issuer that only counts: made-up tokens must not become a flood of requests to it."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Any = None
        self.silent = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.silent:
            await asyncio.sleep(3600)
        return self.answer(request) if self.answer else web.Response(status=500)


@pytest.fixture
async def counted() -> AsyncIterator[tuple[Counted, str]]:
    counted = Counted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", counted.serve)
    runner, port = await serve(app)
    yield counted, f"http://127.0.0.1:{port}"
    await runner.cleanup()


def discovery(request: web.Request, **changed: Any) -> web.Response:
    issuer = f"http://{request.host}"
    if request.path == "/jwks":
        return web.json_response({"keys": [KEY.as_dict(private=False)]})
    said = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
    }
    return web.json_response({**said, **changed})


async def test_garbage_does_not_flood_the_issuer(pool: asyncpg.Pool, counted: tuple[Counted, str]) -> None:
    issuer, url = counted
    issuer.answer = discovery
    async with serving(admin_app(settings(url), pool)) as admin:
        key = foreign_key("x")
        for number in range(REFRESHES_PER_MINUTE * 3):
            token = signed({"alg": "RS256", "kid": f"made-up-{number}"}, {"iss": url}, key)
            assert (await whoami(admin, token))[0] == 401
        assert issuer.asked <= REFRESHES_PER_MINUTE * 2  # the discovery document and the keys
        before = issuer.asked
        for token in ("a.b.c", f"{unsigned({'alg': 'none'})}.{unsigned({})}."):
            assert (await whoami(admin, token))[0] == 401
        assert issuer.asked == before


USELESS: list[Callable[[web.Request], web.Response]] = [
    lambda _: web.Response(status=500),
    lambda _: web.Response(text="<html>"),
    lambda _: web.Response(text="[]"),
    lambda _: web.Response(body=b'{"a":"' + b"x" * 300_000 + b'"}'),
    lambda request: web.Response(status=302, headers={"Location": str(request.url)}),
    lambda request: discovery(request, issuer="https://evil.example"),
    lambda request: discovery(request, issuer=f"http://{request.host}/"),
    lambda request: discovery(request, jwks_uri="http://evil.example/jwks"),
    lambda request: discovery(request, jwks_uri="file:///etc/passwd"),
    lambda request: discovery(request, token_endpoint=None),
    lambda request: web.json_response({"keys": []}) if request.path == "/jwks" else discovery(request),
]


async def test_an_issuer_that_cannot_be_used_is_said_so(pool: asyncpg.Pool, counted: tuple[Counted, str]) -> None:
    issuer, url = counted
    token = signed({"alg": "RS256", "kid": "one"}, {"iss": url}, KEY)
    for answer in USELESS:
        issuer.answer, issuer.asked = answer, 0
        async with serving(admin_app(settings(url), pool)) as admin:
            status, problem, headers = await admin.as_(token).ask("GET", "/session")
            assert (status, problem["code"]) == (503, "issuer_unavailable")
            assert headers.headers["Retry-After"]
            assert (await admin.ask("GET", "/session"))[0] == 200  # a personal token needs no issuer
            for _ in range(REFRESHES_PER_MINUTE * 2):
                assert (await whoami(admin, token))[0] == 503
            assert issuer.asked <= REFRESHES_PER_MINUTE * 2


async def test_an_issuer_that_is_silent_holds_nobody_up_for_long(
    pool: asyncpg.Pool, counted: tuple[Counted, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, url = counted
    issuer.silent = True
    monkeypatch.setattr("admin.identity.oidc_issuer.FETCH_SECONDS", 0.2)
    async with serving(admin_app(settings(url), pool)) as admin:
        token = signed({"alg": "RS256", "kid": "one"}, {"iss": url}, KEY)
        answers = await asyncio.gather(*(whoami(admin, token) for _ in range(20)))
        assert {status for status, _ in answers} == {503}
        assert issuer.asked <= 2  # whoever waited for a look has had theirs


async def test_while_somebody_asks_a_silent_issuer_the_others_go_on_with_what_is_known(
    counted: tuple[Counted, str],
) -> None:
    server, url = counted
    server.answer = discovery
    now = 1000.0
    issuer = Issuer(url, clock=lambda: now)
    known = await issuer.metadata()
    server.silent, server.asked = True, 0
    now += FRESH_SECONDS
    asking = asyncio.create_task(issuer.metadata())
    await asyncio.sleep(0)  # it is under way
    assert await issuer.metadata() is known
    assert not asking.done()
    now += STALE_SECONDS - FRESH_SECONDS
    waiting = asyncio.create_task(issuer.metadata())
    await asyncio.sleep(0.1)
    assert not waiting.done()  # what is known is too old by now
    for task in (asking, waiting):
        task.cancel()
    await asyncio.gather(asking, waiting, return_exceptions=True)
    await issuer.close()


async def test_an_outage_of_the_issuer_costs_nothing_while_its_keys_are_known(
    pool: asyncpg.Pool, counted: tuple[Counted, str]
) -> None:
    issuer, url = counted
    issuer.answer = discovery
    now = int(time.time())
    claims = {"iss": url, "aud": API, "exp": now + 300, "email": ADA, "email_verified": True, "sub": "1"}
    async with serving(admin_app(settings(url), pool)) as admin:
        token = signed({"alg": "RS256", "kid": "one"}, claims, KEY)
        assert (await whoami(admin, token))[0] == 200
        many = signed({"alg": "RS256", "kid": "one"}, {**claims, "groups": [f"group-{n:020}" for n in range(400)]}, KEY)
        assert len(many) > 14_000
        assert (await whoami(admin, many))[0] == 200
        issuer.answer = None
        assert (await whoami(admin, token))[0] == 200
        # Whether this key is new or made up only the issuer could tell.
        status, problem = await whoami(admin, signed({"alg": "RS256", "kid": "two"}, claims, KEY))
        assert (status, problem["code"]) == (503, "issuer_unavailable")


async def test_keys_are_fetched_anew_in_time_and_count_for_an_hour_without_the_issuer(
    counted: tuple[Counted, str],
) -> None:
    server, url = counted
    now = 1000.0
    issuer = Issuer(url, clock=lambda: now)
    server.answer = discovery
    first = await issuer.metadata()
    now += FRESH_SECONDS - 1
    assert await issuer.metadata() is first
    now += 1
    second = await issuer.metadata()
    assert second is not first
    server.answer, server.asked = None, 0
    now += FRESH_SECONDS
    assert await issuer.metadata() is second
    assert server.asked == 1
    now += RETRY_SECONDS - 1
    assert await issuer.metadata() is second
    assert server.asked == 1  # nobody waits for an issuer that has just failed
    now += 1
    assert await issuer.metadata() is second
    assert server.asked == 2
    now += STALE_SECONDS - FRESH_SECONDS - RETRY_SECONDS
    with pytest.raises(IssuerDown):
        await issuer.metadata()
    server.answer = discovery
    now += RETRY_SECONDS
    assert (await issuer.metadata()).keys
    await issuer.close()
