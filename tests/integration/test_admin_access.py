"""Access control of the admin API: it needs credentials, and limited admins see only their workspaces.

Both are tested for every route of the application, so that a new route cannot be forgotten.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector

from admin.app import admin_app
from admin.identity.admin_tokens import token_digest
from admin.settings import AdminSettings
from tests.integration.adminapi import ADA_TOKEN, BEN_TOKEN, FRONT_DOOR, SETTINGS, AdminClient, acme, admin, serving
from tests.integration.jar import Jar
from tests.ports import free_port
from tests.provider import API, CLIENT, SECRET, Provider, foreign_key, opened, running, signed, unsigned

__all__ = ["acme", "admin"]

USER = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Attempt:
    """A request for something in globex, and the statuses that an admin limited to acme may get."""

    path: str
    payload: Any = None
    statuses: tuple[int, ...] = (403, 404)


ATTEMPTS: dict[tuple[str, str], list[Attempt]] = {
    ("GET", "/users"): [
        Attempt("/users", statuses=(200,)),
        Attempt("/users?sort=last_activity", statuses=(200,)),
        Attempt("/users?search=wiki", statuses=(200,)),
        Attempt("/users?search=globex", statuses=(200,)),
        Attempt("/users?search=slk_", statuses=(200,)),
        Attempt("/users?workspace=globex"),
    ],
    ("GET", "/shadow-findings"): [
        Attempt("/shadow-findings", statuses=(200,)),
        Attempt("/shadow-findings?workspace=globex"),
    ],
    ("GET", "/user-count"): [
        Attempt("/user-count", statuses=(200,)),
        Attempt("/user-count?search=wiki", statuses=(200,)),
        Attempt("/user-count?workspace=globex"),
    ],
    ("POST", "/users"): [
        Attempt("/users", {"workspace": "globex", "all_sites": True}),
        Attempt("/users", {"workspace": "globex", "sites": ["wiki"]}),
        Attempt("/users", {"workspace": "acme", "sites": ["wiki"]}, (422,)),
        Attempt("/users", {"workspace": "acme", "sites": ["shop", "wiki"]}, (422,)),
        Attempt("/users", {"workspace": "acme", "sites": ["WIKI"]}, (422,)),
    ],
    ("GET", "/activity"): [Attempt("/activity?ids={user}", statuses=(200,))],
    ("GET", "/usage"): [Attempt("/usage?ids={user}", statuses=(200,))],
    ("GET", "/usage.csv"): [
        Attempt("/usage.csv", statuses=(200,)),
        Attempt("/usage.csv?by=hour", statuses=(200,)),
        Attempt("/usage.csv?workspace=globex"),
    ],
    ("GET", "/users/{id}/usage"): [Attempt("/users/{user}/usage"), Attempt("/users/{user}/usage?by=hour")],
    ("GET", "/users/{id}"): [Attempt("/users/{user}")],
    ("PATCH", "/users/{id}"): [
        Attempt("/users/{user}", {"disabled": True}),
        Attempt("/users/{user}", {"sites": {"add": ["shop"]}}),
    ],
    ("POST", "/users/{id}/keys"): [Attempt("/users/{user}/keys", {"overlap_seconds": 0})],
    ("DELETE", "/users/{id}/old-keys"): [Attempt("/users/{user}/old-keys")],
    ("DELETE", "/users/{id}"): [Attempt("/users/{user}")],
    ("POST", "/users/{id}/reveal"): [Attempt("/users/{user}/reveal")],
    ("GET", "/workspaces"): [
        Attempt("/workspaces", statuses=(200,)),
        Attempt("/workspaces?after=acme", statuses=(200,)),
    ],
    ("POST", "/workspaces"): [
        Attempt("/workspaces", {"name": "globex"}),
        Attempt("/workspaces", {"name": "initech"}),
    ],
    ("PATCH", "/workspaces/{name}"): [
        Attempt("/workspaces/globex", {"name": "acme"}),
        Attempt("/workspaces/acme", {"name": "globex"}),
        Attempt("/workspaces/acme", {"name": "initech"}),
    ],
    ("DELETE", "/workspaces/{name}"): [Attempt("/workspaces/globex"), Attempt("/workspaces/initech")],
    ("GET", "/sites"): [
        Attempt("/sites", statuses=(200,)),
        Attempt("/sites?search=wiki", statuses=(200,)),
        Attempt("/sites?workspace=globex"),
        Attempt("/sites?after=shop", statuses=(200,)),
    ],
    ("POST", "/sites"): [
        Attempt("/sites", {"csv": "site,workspace\nx,globex\n"}),
        Attempt("/sites", {"csv": "site,workspace\nx,initech\n"}),
        Attempt("/sites", {"csv": "site,workspace\nnew,acme\nx,globex\n"}),
        Attempt("/sites", {"csv": "site,workspace\nnew,acme\nwiki,acme\n"}, (409,)),
    ],
    ("GET", "/site-count"): [
        Attempt("/site-count", statuses=(200,)),
        Attempt("/site-count?workspace=globex"),
    ],
    ("POST", "/site-lookup"): [
        Attempt("/site-lookup", {"workspace": "globex", "ids": ["wiki"]}),
        Attempt("/site-lookup", {"workspace": "acme", "ids": ["WIKI"]}, (200,)),
    ],
    ("GET", "/sites/{id}"): [Attempt("/sites/wiki")],
    ("PUT", "/sites/{id}"): [
        Attempt("/sites/new", {"workspace": "globex"}),
        Attempt("/sites/wiki", {"workspace": "globex", "display_name": "Mine"}),
        Attempt("/sites/wiki", {"workspace": "acme"}, (409,)),
        Attempt("/sites/shop", {"workspace": "globex"}),
    ],
    ("PATCH", "/sites/{id}"): [Attempt("/sites/wiki", {"display_name": "Mine"})],
    ("DELETE", "/sites/{id}"): [Attempt("/sites/wiki")],
    ("GET", "/audit.csv"): [
        Attempt("/audit.csv", statuses=(200,)),
        Attempt("/audit.csv?workspace=globex"),
        Attempt("/audit.csv?search=wiki", statuses=(200,)),
        Attempt("/audit.csv?subject={user}", statuses=(200,)),
    ],
    ("GET", "/audit"): [
        Attempt("/audit", statuses=(200,)),
        Attempt("/audit?workspace=globex"),
        Attempt("/audit?subject=wiki", statuses=(200,)),
        Attempt("/audit?search=wiki", statuses=(200,)),
        Attempt("/audit?action=site.created&since=2000-01-01T00:00:00Z", statuses=(200,)),
        Attempt("/audit?subject={user}", statuses=(200,)),
    ],
    ("POST", "/key-imports"): [
        Attempt("/key-imports", {"text": "key\nkq3vT8-Zp1mX9wLr4sNc\n", "workspace": "globex", "all_sites": True}),
        Attempt("/key-imports", {"text": "key,sites\nkq3vT8-Zp1mX9wLr4sNc,wiki\n", "workspace": "acme"}, (422,)),
    ],
    ("POST", "/explain"): [
        Attempt("/explain", {"url": "/api/sites/wiki/x"}, (200,)),
        Attempt("/explain", {"url": "/api/sites/wiki/x", "user_id": "{user}"}, (200,)),
    ],
    ("POST", "/session"): [Attempt("/session", {"token": "wrong"}, (401, 403))],
    ("GET", "/sign-in"): [Attempt("/sign-in", statuses=(200,))],
    ("POST", "/sign-in/oidc"): [Attempt("/sign-in/oidc", statuses=(200, 403))],
    ("GET", "/session"): [Attempt("/session", statuses=(200,))],
    ("DELETE", "/session"): [],
    ("GET", "/openapi.json"): [Attempt("/openapi.json", statuses=(200,))],
    ("GET", "/integrators"): [],
    ("GET", "/integrators.md"): [],
}
"""For every route, requests of an admin limited to acme."""
PAGE = {("GET", ""), ("GET", "/"), ("GET", "/static/{name}"), ("GET", "/sign-in/oidc/callback")}
"""The page itself, which contains no data, and the OpenID Connect callback, which redirects to it."""
OPEN = {("POST", "/session"), ("GET", "/sign-in"), ("POST", "/sign-in/oidc"), *PAGE}
"""The routes that need no credentials."""


PROXY = "127.0.0.2"
PORT = free_port()
PUBLIC_URL = f"http://127.0.0.1:{PORT}/admin"
BEN = "ben@acme.example"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One provider for all tests in this module."""
    with running(free_port(), PUBLIC_URL, BEN) as provider:
        yield provider


@pytest.fixture
async def all_methods(pool: asyncpg.Pool, acme: AdminClient, provider: Provider) -> AsyncIterator[AdminClient]:
    """The admin API with every sign-in method configured. Each limits Ben to acme."""
    within = {"emails": (BEN,), "workspaces": ("acme",)}
    everywhere = {"emails": ("ada@example.com",)}
    settings = {
        "public_url": PUBLIC_URL,
        "oidc": {
            "issuer": provider.issuer,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "audience": API,
            "allow": (within, everywhere),
        },
        "identity_proxy": {"addresses": (PROXY,), "allow": (within, everywhere)},
    }
    checked = AdminSettings.model_validate({**SETTINGS.model_dump(), **settings})
    async with serving(admin_app(checked, pool, front_door=FRONT_DOOR), port=PORT) as client:
        yield client


@pytest.fixture
async def through_the_proxy(all_methods: AdminClient) -> AsyncIterator[AdminClient]:
    """A client whose connections come from the identity proxy."""
    async with ClientSession(connector=TCPConnector(local_addr=(PROXY, 0))) as session:
        yield replace(all_methods, session=session)


async def as_ben(admin: AdminClient, provider: Provider, sign_in: str) -> AdminClient:
    """Return a client of Ben, authenticated with one of the methods."""
    match sign_in:
        case "token":
            return admin.as_(BEN_TOKEN)
        case "session":
            return await admin.signed_in(BEN_TOKEN)
        case "JWT":
            return admin.as_(provider.token(BEN))
        case "OIDC session":
            jar = Jar(admin)
            location = await jar.begin()
            assert await jar.follow_redirect(await asyncio.to_thread(provider.sign_in, location, BEN)) == ""
            return await jar.client()
        case _:
            # `admin` connects through the identity proxy.
            return await Jar(admin).client(**{"X-Forwarded-Email": BEN})


@pytest.fixture
def routes(pool: asyncpg.Pool) -> list[tuple[str, str]]:
    """The methods and paths of all routes, without HEAD."""
    return [
        (route.method, route.resource.canonical)
        for route in admin_app(SETTINGS, pool, front_door=FRONT_DOOR).router.routes()
        if route.resource is not None and route.method != "HEAD"
    ]


async def all_rows(pool: asyncpg.Pool) -> str:
    """Return the contents of all tables, to detect changes."""
    tables = (
        "workspaces",
        "sites",
        "api_users",
        "api_keys",
        "api_user_sites",
        "api_user_activity",
        "sealed_keys",
        "audit_log",
    )
    return "\n".join(
        [str(await pool.fetchval(f"SELECT json_agg(t ORDER BY t::text) FROM sitelatch.{name} t")) for name in tables]  # noqa: S608
    )


async def test_every_route_is_covered_by_the_access_attempts(routes: list[tuple[str, str]]) -> None:
    assert sorted(routes) == sorted([*ATTEMPTS, *PAGE])


def credentials() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return headers with missing and invalid credentials, each with a name."""
    basic = base64.b64encode(f"{ADA_TOKEN}:".encode()).decode()
    return [
        ("none", []),
        ("empty", [("Authorization", "")]),
        ("no token", [("Authorization", "Bearer")]),
        ("empty token", [("Authorization", "Bearer ")]),
        ("wrong token", [("Authorization", "Bearer nope")]),
        ("cut short", [("Authorization", f"Bearer {ADA_TOKEN[:-1]}")]),
        ("too long", [("Authorization", f"Bearer {ADA_TOKEN}x")]),
        ("digest", [("Authorization", f"Bearer {token_digest(ADA_TOKEN)}")]),
        ("no scheme", [("Authorization", ADA_TOKEN)]),
        ("basic", [("Authorization", f"Basic {basic}")]),
        ("two right ones", [("Authorization", f"Bearer {ADA_TOKEN}"), ("Authorization", f"Bearer {ADA_TOKEN}")]),
        ("wrong and right", [("Authorization", "Bearer nope"), ("Authorization", f"Bearer {ADA_TOKEN}")]),
        ("in another header", [("X-API-Key", ADA_TOKEN), ("Cookie", f"token={ADA_TOKEN}")]),
        ("somebody's headers", [("X-Forwarded-Email", "ada@example.com"), ("X-Forwarded-User", "ada")]),
        ("bytes", [("Authorization", "Bearer \xff\xfe")]),
    ]


async def test_every_route_refuses_invalid_credentials(
    all_methods: AdminClient, pool: asyncpg.Pool, routes: list[tuple[str, str]], provider: Provider
) -> None:
    before = await all_rows(pool)
    anonymous = all_methods.as_(None)
    good = provider.token(BEN)
    head, claims = opened(good)
    forged = [
        ("an unsigned JWT", f"{unsigned({**head, 'alg': 'none'})}.{unsigned(claims)}."),
        ("a JWT by a foreign key", signed(head, claims, foreign_key(head["kid"]))),
        ("a JWT for somebody else", provider.token(BEN, "https://other.example")),
    ]
    wrong = [*credentials(), *((name, [("Authorization", f"Bearer {token}")]) for name, token in forged)]
    elsewhere = [("GET", "/nope"), ("GET", "/static"), ("POST", "/"), ("POST", ""), ("PATCH", "/users")]
    protected = [route for route in routes if route not in OPEN]
    for method, path in (*protected, *elsewhere):
        for name, headers in wrong:
            real = path.replace("{id}", "shop" if "sites" in path else USER)
            status, problem, answer = await anonymous.request(
                method, f"{real}?access_token={ADA_TOKEN}", {"workspace": "acme"}, headers=dict(headers)
            )
            if name in ("two right ones", "wrong and right"):  # a dict cannot repeat a header
                async with anonymous.session.request(method, f"{anonymous.base}admin{real}", headers=headers) as answer:
                    status, problem = answer.status, await answer.json(content_type=None)
            assert status == 401, (method, path, name)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="admin"'
            assert answer.content_type == "application/problem+json"
            assert problem["code"] == "not_signed_in"
            assert ADA_TOKEN not in json.dumps(problem) + str(answer.headers)
    assert await all_rows(pool) == before


async def test_head_returns_the_headers_of_get(acme: AdminClient, routes: list[tuple[str, str]]) -> None:
    fields = ("Content-Type", "Content-Length", "ETag", "Location", "Cache-Control", "WWW-Authenticate")
    gets = [path for method, path in routes if method == "GET"]
    assert len(gets) > 10
    for path in gets:
        real = path.replace("{id}", "shop" if "sites" in path else USER).replace("{name}", "app.js")
        for client in (acme, acme.as_(None)):
            expected, _, answer = await client.request("GET", real, allow_redirects=False)
            status, body, head = await client.request("HEAD", real, allow_redirects=False)
            assert (status, body) == (expected, None), real
            # The length of an empty body may be omitted.
            assert [head.headers.get(name, "0") for name in fields] == [
                answer.headers.get(name, "0") for name in fields
            ]


def cookies(sent: str) -> list[tuple[str, str | None]]:
    """Return invalid variations of a session's cookie, each with a name."""
    name, _, value = sent.partition("=")
    return [
        ("none", None),
        ("empty", ""),
        ("no value", f"{name}="),
        ("made up", f"{name}={'A' * 43}"),
        ("cut short", sent[:-1]),
        ("too long", f"{sent}A"),
        ("other case", f"{name}={value.swapcase()}"),
        ("the digest", f"{name}={sha256(value.encode()).hexdigest()}"),
        ("an admin's token", f"{name}={ADA_TOKEN}"),
        ("an admin's digest", f"{name}=token:{token_digest(ADA_TOKEN)}"),
        ("another name", f"session={value}"),
        ("another port's", f"sitelatch-1={value}"),
        ("twice", f"{sent}; {sent}"),
        ("right and wrong", f"{sent}; {name}={'A' * 43}"),
        ("wrong and right", f"{name}=; {sent}"),
        ("bytes", f"{name}=\xff\xfe"),
    ]


async def test_every_route_refuses_invalid_session_cookies(
    acme: AdminClient, pool: asyncpg.Pool, routes: list[tuple[str, str]]
) -> None:
    ada = await acme.signed_in()
    before = await all_rows(pool)
    for method, path in routes:
        if (method, path) in OPEN:
            continue
        real = path.replace("{id}", "shop" if "sites" in path else USER)
        for name, cookie in cookies(ada.browser["Cookie"]):
            status, problem, _ = await ada.sending(Cookie=cookie).request(method, real, {"workspace": "acme"})
            assert (status, problem["code"]) == (401, "not_signed_in"), (method, path, name)
    assert await all_rows(pool) == before


@pytest.mark.parametrize("sign_in", ["session", "identity proxy"])
async def test_every_change_by_a_browser_must_come_from_our_page(
    acme: AdminClient, through_the_proxy: AdminClient, pool: asyncpg.Pool, routes: list[tuple[str, str]], sign_in: str
) -> None:
    if sign_in == "session":
        ada, other = await acme.signed_in(), await acme.signed_in()
    else:
        ada, other = [await Jar(through_the_proxy).client(**{"X-Forwarded-Email": "ada@example.com"}) for _ in range(2)]
    assert ada.browser["X-CSRF-Token"] != other.browser["X-CSRF-Token"]
    before = await all_rows(pool)
    foreign = [{"X_CSRF_Token": token} for token in (None, "", "x", other.browser["X-CSRF-Token"], "\xff")]
    foreign += [
        {"Origin": origin}
        for origin in (
            None,
            "",
            "null",
            "https://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:1",
            f"{ada.origin}.evil.example",
            f"{ada.origin}/",
            f"http://evil@{ada.base.authority}",
            ada.origin.replace("http:", "https:"),
            ada.origin.replace("127.0.0.1", "localhost"),
        )
    ]
    changes = [(method, path) for method, path in routes if method != "GET" and (method, path) not in OPEN]
    assert len(changes) > 5
    for method, path in changes:
        real = path.replace("{id}", "shop" if "sites" in path else USER)
        for headers in foreign:
            status, problem, _ = await ada.sending(**headers).request(method, real, {"workspace": "acme"})
            assert (status, problem["code"]) == (403, "cross_site"), (method, path, headers)
    assert await all_rows(pool) == before
    assert (await ada.request("GET", "/session"))[0] == 200


@pytest.mark.parametrize(("method", "payload"), [("DELETE", None), ("PATCH", {"display_name": "x"})])
async def test_a_site_of_another_workspace_is_not_locked(
    acme: AdminClient, pool: asyncpg.Pool, method: str, payload: Any
) -> None:
    """A wait for another admin's lock would reveal that the site exists."""
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM sitelatch.sites WHERE id = 'wiki' FOR UPDATE")
        async with asyncio.timeout(10):
            assert (await acme.as_(BEN_TOKEN).request(method, "/sites/wiki", payload))[0] == 404


async def test_an_api_key_is_not_an_admin_credential(acme: AdminClient) -> None:
    made = await acme.create(workspace="acme", all_sites=True)
    assert (await acme.as_(made["api_key"]).request("GET", "/users"))[0] == 401


@pytest.mark.parametrize("sign_in", ["token", "session", "JWT", "OIDC session", "identity proxy"])
async def test_a_limited_admin_can_do_nothing_outside_its_workspaces(
    acme: AdminClient,
    all_methods: AdminClient,
    through_the_proxy: AdminClient,
    provider: Provider,
    pool: asyncpg.Pool,
    sign_in: str,
) -> None:
    secret = await acme.create(workspace="globex", sites=["wiki"], name="Globex exporter")
    await acme.create(workspace="globex", all_sites=True, name="wiki")
    visible = await acme.create(workspace="acme", sites=["shop"], name="Acme exporter")
    before = await all_rows(pool)
    ben = await as_ben(through_the_proxy if sign_in == "identity proxy" else all_methods, provider, sign_in)
    foreign = (secret["id"], secret["keys"][0]["hint"], "Globex exporter", '"wiki"', '"globex"')
    for (method, _), attempts in ATTEMPTS.items():
        for attempt in attempts:
            path = attempt.path.replace("{user}", secret["id"])
            payload = json.loads(json.dumps(attempt.payload).replace("{user}", secret["id"]))
            status, body, _ = await ben.request(method, path, payload)
            assert status in attempt.statuses, (method, path, attempt.payload, body)
            text = json.dumps(body, ensure_ascii=False)
            # An error may quote the request, but a list must not.
            if status == 200:
                assert not [name for name in foreign if name in text], (method, path, text)
            else:
                assert secret["keys"][0]["hint"] not in text
                assert "Globex exporter" not in text
    assert await all_rows(pool) == before
    assert [user["id"] for user in (await ben.get("/users"))["items"]] == [visible["id"]]
    for search, count in (("", 1), ("globex", 0), ("wiki", 0), ("ada", 1)):
        assert await ben.get("/user-count", search=search) == {"count": count, "more": False}
    assert (await ben.get("/session"))["workspaces"] == ["acme"]
    made = await ben.create(workspace="acme", sites=["shop"])
    assert (await ben.request("DELETE", f"/users/{made['id']}"))[0] == 204


async def test_resources_of_other_workspaces_look_like_missing_ones(acme: AdminClient) -> None:
    secret = await acme.create(workspace="globex", sites=["wiki"])
    ben = acme.as_(BEN_TOKEN)

    async def answers(method: str, existing: str, missing: str, *payloads: Any) -> None:
        first = await ben.request(method, existing, payloads[0] if payloads else None)
        second = await ben.request(method, missing, payloads[-1] if payloads else None)
        assert first[0] == second[0]
        assert json.dumps(first[1]).replace("wiki", "nope").replace("WIKI", "NOPE").replace(
            "globex", "nope"
        ) == json.dumps(second[1])

    for method in ("GET", "DELETE"):
        await answers(method, f"/users/{secret['id']}", f"/users/{USER}")
        await answers(method, "/sites/wiki", "/sites/nope")
    await answers("GET", "/users?workspace=globex", "/users?workspace=nope")
    await answers("POST", "/workspaces", "/workspaces", {"name": "globex"}, {"name": "nope"})
    for existing, missing in (("wiki", "nope"), ("WIKI", "NOPE")):
        bodies = [{"workspace": "acme", "sites": [site]} for site in (existing, missing)]
        await answers("POST", "/users", "/users", *bodies)
    everywhere = [{"workspace": workspace, "all_sites": True} for workspace in ("globex", "nope")]
    await answers("POST", "/users", "/users", *everywhere)


async def test_a_limited_token_works_in_its_own_workspace(acme: AdminClient) -> None:
    ben = acme.as_(BEN_TOKEN)
    made = await ben.create(workspace="acme", sites=["shop"])
    assert made["authorized_by"] == {"name": "Ben", "email": "ben@example.com"}
    assert (await ben.request("PUT", "/sites/new", {"workspace": "acme"}))[0] == 201
    assert (await ben.request("DELETE", "/sites/new"))[0] == 204
    assert (await ben.request("DELETE", f"/users/{made['id']}"))[0] == 204
    actions = [line["action"] for line in (await ben.get("/audit"))["items"]]
    assert actions[:4] == ["user.deleted", "site.removed", "site.created", "user.created"]
    assert [item["name"] for item in (await ben.get("/workspaces"))["items"]] == ["acme"]


async def test_an_unknown_path_gets_problem_details(acme: AdminClient) -> None:
    for method, path, expected in (("GET", "/nope", 404), ("PATCH", "/users", 405), ("POST", "/users/x/y", 404)):
        status, problem, answer = await acme.request(method, path)
        assert (status, problem["status"]) == (expected, expected)
        assert answer.content_type == "application/problem+json"
