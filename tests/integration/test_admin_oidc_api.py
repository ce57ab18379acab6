"""The issuer's JWTs as bearer tokens for the admin API, with a real provider."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientConnectorCertificateError, web
from aiohttp.test_utils import RawTestServer
from joserfc.jwk import RSAKey

from admin.app import admin_app
from admin.identity.oidc_issuer import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, Issuer
from admin.problems import IssuerDown
from admin.settings import AdminSettings, AllowSettings, OidcSettings
from tests.acceptance.certificates import Authority
from tests.integration.adminapi import SETTINGS, AdminClient, serve, serving
from tests.ports import free_port
from tests.provider import API, CLIENT, SECRET, Provider, foreign_key, opened, running, signed, unsigned

ADA, BEN, CYD, DAN = "ada@example.com", "ben@Acme.example", "unverified@example.com", "grouped@elsewhere.example"
LATE = "late@acme.example"
"""An account whose tokens have expired on arrival."""
PUBLIC_URL = "http://127.0.0.1:9/admin"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One provider for all tests in this module."""
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
    """The admin API with the provider as its issuer."""
    async with serving(admin_app(settings(provider.issuer), pool)) as client:
        yield client


async def whoami(client: AdminClient, token: str) -> tuple[int, Any]:
    status, body, _ = await client.as_(token).request("GET", "/session")
    return status, body


async def test_a_token_of_a_person_on_the_allow_list_is_accepted(admin: AdminClient, provider: Provider) -> None:
    status, session = await whoami(admin, provider.token(ADA))
    assert status == 200
    assert session["person"] == {"name": "ada", "email": ADA}
    assert session["workspaces"] is None
    assert session["csrf_token"] is None
    assert (await whoami(admin, provider.token(BEN)))[1]["workspaces"] == ["acme"]
    assert (await whoami(admin, provider.token(DAN)))[1]["workspaces"] == ["acme", "globex"]
    ada = admin.as_(provider.token(ADA))
    assert (await ada.request("POST", "/workspaces", {"name": "acme"}))[0] == 201
    made = await ada.create(workspace="acme", all_sites=True)
    assert made["authorized_by"] == {"name": "ada", "email": ADA}


@pytest.mark.parametrize("email", ["eve@evil.example", CYD])
async def test_a_person_without_a_listed_and_verified_email_is_not_an_admin(
    admin: AdminClient, provider: Provider, email: str
) -> None:
    status, problem = await whoami(admin, provider.token(email))
    assert (status, problem["code"]) == (403, "not_an_admin")


async def test_forged_and_foreign_tokens_are_refused(admin: AdminClient, provider: Provider) -> None:
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
async def test_key_rotation_takes_effect_for_new_and_old_tokens(
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
    """An issuer that counts requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.answer: Any = None
        self.silent = False
        self.asked = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.asked.set()
        await self.answering.wait()
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
    document = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
    }
    return web.json_response({**document, **changed})


async def flood(admin: AdminClient, issuer: str, number: int) -> None:
    """Send this many tokens that name different made-up keys, all at once."""
    key = foreign_key("x")
    tokens = [signed({"alg": "RS256", "kid": f"made-up-{each}"}, {"iss": issuer}, key) for each in range(number)]
    assert {status for status, _ in await asyncio.gather(*(whoami(admin, token) for token in tokens))} == {401}


async def test_made_up_tokens_do_not_flood_the_issuer(pool: asyncpg.Pool, counted: tuple[Counted, str]) -> None:
    issuer, url = counted
    issuer.answer = discovery
    async with serving(admin_app(settings(url), pool)) as admin:
        await flood(admin, url, 60)
        assert issuer.requests <= 4  # the discovery document and the keys, and the keys again at most twice
        before = issuer.requests
        for token in ("a.b.c", f"{unsigned({'alg': 'none'})}.{unsigned({})}."):
            assert (await whoami(admin, token))[0] == 401
        assert issuer.requests == before


async def test_made_up_tokens_do_not_delay_a_rotated_key(admin: AdminClient, provider: Provider) -> None:
    assert (await whoami(admin, provider.token(ADA)))[0] == 200
    await flood(admin, provider.issuer, 30)
    provider.rotate("ES256")
    flooding = asyncio.create_task(flood(admin, provider.issuer, 30))
    assert (await whoami(admin, provider.token(ADA)))[0] == 200
    await flooding


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


async def test_an_unusable_issuer_is_reported(pool: asyncpg.Pool, counted: tuple[Counted, str]) -> None:
    issuer, url = counted
    token = signed({"alg": "RS256", "kid": "one"}, {"iss": url}, KEY)
    for answer in USELESS:
        issuer.answer, issuer.requests = answer, 0
        async with serving(admin_app(settings(url), pool)) as admin:
            status, problem, headers = await admin.as_(token).request("GET", "/session")
            assert (status, problem["code"]) == (503, "issuer_unavailable")
            assert headers.headers["Retry-After"]
            assert (await admin.request("GET", "/session"))[0] == 200  # a personal token needs no issuer
            for _ in range(12):
                assert (await whoami(admin, token))[0] == 503
            assert issuer.requests <= 4


async def test_requests_to_a_silent_issuer_time_out(counted: tuple[Counted, str]) -> None:
    server, url = counted
    server.silent = True
    issuer = Issuer(url, fetch_seconds=0.2)
    results = await asyncio.gather(*(issuer.metadata() for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {IssuerDown}
    assert server.requests <= 2  # callers that waited for a refresh use its result
    await issuer.close()


async def test_a_client_that_leaves_during_a_refresh_does_not_end_it_for_others(counted: tuple[Counted, str]) -> None:
    server, url = counted
    server.answer = discovery
    server.answering.clear()
    issuer = Issuer(url)
    leaving = asyncio.create_task(issuer.metadata())
    await server.asked.wait()
    waiting = asyncio.create_task(issuer.metadata())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    server.answering.set()
    assert (await waiting).token_endpoint == f"{url}/token"
    assert server.requests == 2
    await issuer.close()


async def test_new_certificate_authorities_of_the_system_are_used_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "authority")

    async def respond(_: web.BaseRequest) -> web.Response:
        return web.json_response({"signed": "yes"})

    server = RawTestServer(respond, scheme="https")
    await server.start_server(ssl=authority.pair("127.0.0.1").server_context())
    url = str(server.make_url("/"))
    issuer = Issuer(url)
    with pytest.raises(ClientConnectorCertificateError):
        await issuer.fetch_json("GET", url)
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    assert authority.file in issuer.watched.files
    issuer.watched.load()()
    assert await issuer.fetch_json("GET", url) == {"signed": "yes"}
    await issuer.close()
    await server.close()


async def test_cached_metadata_is_used_during_a_refresh(
    counted: tuple[Counted, str],
) -> None:
    server, url = counted
    server.answer = discovery
    now = 1000.0
    issuer = Issuer(url, clock=lambda: now)
    cached = await issuer.metadata()
    server.silent, server.requests = True, 0
    now += FRESH_SECONDS
    refreshing = asyncio.create_task(issuer.metadata())
    await asyncio.sleep(0)  # the refresh has started
    assert await issuer.metadata() is cached
    assert not refreshing.done()
    now += STALE_SECONDS - FRESH_SECONDS
    waiting = asyncio.create_task(issuer.metadata())
    await asyncio.sleep(0.1)
    assert not waiting.done()  # the cache is too old by now
    for task in (refreshing, waiting):
        task.cancel()
    await asyncio.gather(refreshing, waiting, return_exceptions=True)
    await issuer.close()


async def test_an_issuer_outage_has_no_effect_while_its_keys_are_cached(
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
        # Only the issuer could tell whether this key is new or made up.
        status, problem = await whoami(admin, signed({"alg": "RS256", "kid": "two"}, claims, KEY))
        assert (status, problem["code"]) == (503, "issuer_unavailable")


async def test_keys_are_refreshed_and_expire_after_an_hour_without_the_issuer(
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
    server.answer, server.requests = None, 0
    now += FRESH_SECONDS
    assert await issuer.metadata() is second
    assert server.requests == 1
    now += RETRY_SECONDS - 1
    assert await issuer.metadata() is second
    assert server.requests == 1  # no retry so soon after a failure
    now += 1
    assert await issuer.metadata() is second
    assert server.requests == 2
    now += STALE_SECONDS - FRESH_SECONDS - RETRY_SECONDS
    with pytest.raises(IssuerDown):
        await issuer.metadata()
    server.answer = discovery
    now += RETRY_SECONDS
    assert (await issuer.metadata()).keys
    await issuer.close()
