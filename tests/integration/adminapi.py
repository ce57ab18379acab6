"""The admin API on a real database, served as `serve` does, and clients that call it as an admin."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse, ClientSession, web
from yarl import URL

from admin.api.explain import FrontDoorSettings
from admin.app import admin_app
from admin.identity.admin_tokens import token_digest
from admin.identity.admins import COMMAND, Actor, Person
from admin.internal_listeners import InternalRunner, internal_listeners
from admin.settings import AdminSettings, TokenSettings
from proxy.observe.metrics import Metrics
from proxy.observe.ops import ops_app
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings, RouteSettings

ADA = Person("Ada Admin", "ada@example.com")
BY_ADA = Actor(ADA, COMMAND)
# Constant, because test ids contain them and xdist's workers must agree on the ids.
ADA_TOKEN = "sla_" + "Ada-4_" * 7 + "A"
BEN_TOKEN = "sla_" + "Ben-5_" * 7 + "B"
"""Ben's token, limited to the workspace acme."""

SETTINGS = AdminSettings(
    listen="shared",
    tokens=(
        TokenSettings(name=ADA.name, email=ADA.email, sha256=token_digest(ADA_TOKEN)),
        TokenSettings(name="Ben", email="ben@example.com", sha256=token_digest(BEN_TOKEN), workspaces=("acme",)),
    ),
)

FRONT_DOOR = FrontDoorSettings(
    ProxySettings(
        routes=(
            RouteSettings(
                name="data", upstream="http://127.0.0.1:9000", sites=("path:/api/sites/{site}/**", "query:site")
            ),
        )
    ),
    LimitSettings(),
    KeySettings(),
    GrantSettings(),
)


@dataclass
class AdminClient:
    """Calls the admin API with a token, with a browser's session, or without credentials."""

    session: ClientSession
    base: URL
    token: str | None = ADA_TOKEN
    browser: Mapping[str, str] = field(default_factory=dict)
    """The headers that a browser with a session sends instead of a token."""
    document: Any = None
    """The OpenAPI document. Every response must have a status that it describes."""

    def as_(self, token: str | None) -> "AdminClient":
        return replace(self, token=token, browser={})

    @property
    def origin(self) -> str:
        return str(self.base).rstrip("/")

    async def signed_in(self, token: str | None = None) -> "AdminClient":
        """Sign in with a token and return a client with the session."""
        anonymous = self.as_(None)
        body = {"token": token or self.token}
        status, session, answer = await anonymous.request("POST", "/session", body, headers={"Origin": self.origin})
        assert status == 200, session
        browser = {
            "Cookie": answer.headers["Set-Cookie"].partition(";")[0],
            "Origin": self.origin,
            "X-CSRF-Token": session["csrf_token"],
        }
        return replace(anonymous, browser=browser)

    def sending(self, **changed: str | None) -> "AdminClient":
        """Return a client whose session sends changed headers. None omits a header."""
        headers = {**self.browser, **{name.replace("_", "-"): value for name, value in changed.items()}}
        return replace(self, browser={name: value for name, value in headers.items() if value is not None})

    async def request(
        self, method: str, path: str, payload: Any = None, **other: Any
    ) -> tuple[int, Any, ClientResponse]:
        """Send a request. Return the status, the JSON of the response (or None) and the response."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token is not None else dict(self.browser)
        headers |= other.pop("headers", {})
        if payload is not None:
            other["json"] = payload
        # Paths are sent exactly as written in the test.
        url = URL(f"{self.base}admin{path}", encoded=True)
        async with self.session.request(method, url, headers=headers, **other) as answer:
            text = await answer.text()
            self._check_described(method, url.path, answer.status)
            is_json = text and answer.content_type.endswith("json")
            return answer.status, (await answer.json(content_type=None) if is_json else None), answer

    def _check_described(self, method: str, path: str, status: int) -> None:
        paths = self.document["paths"] if self.document else {}
        path = path.removeprefix("/admin")
        methods: dict[str, Any] = {}
        for template in (path, *(re.sub(r"(?<=s/)[^/]+", name, path) for name in ("{id}", "{name}"))):
            methods = methods or paths.get(template, {})
        if method.lower() in methods:
            assert str(status) in methods[method.lower()]["responses"]

    async def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a response, which must be a 200."""
        query = str(URL.build(query={name: str(value) for name, value in parameters.items()}))
        status, body, _ = await self.request("GET", path + query)
        assert status == 200, body
        return body

    async def create(self, **fields: Any) -> Any:
        """Create an API user and return its JSON."""
        status, body, _ = await self.request("POST", "/users", fields)
        assert status == 201, body
        return body


def with_ops(admin: web.Application) -> web.Application:
    """Return one application for ops and admin, as for two listeners with the same address."""
    return internal_listeners(ops_app(Metrics(), lambda: (True, {})), "shared", admin, "shared")["shared"]


async def serve(app: web.Application, *, head_seconds: float = 15, port: int = 0) -> tuple[InternalRunner, int]:
    """Serve an application on a loopback port, by default a free one. The caller cleans up the runner."""
    runner = InternalRunner(app, head_seconds=head_seconds, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    return runner, runner.addresses[0][1]


@asynccontextmanager
async def serving(app: web.Application, token: str = ADA_TOKEN, *, port: int = 0) -> AsyncIterator[AdminClient]:
    """Yield a client of an admin application that is served together with ops."""
    runner, port = await serve(with_ops(app), port=port)
    async with ClientSession() as session:
        client = AdminClient(session, URL(f"http://127.0.0.1:{port}/"), token)
        client.document = await client.get("/openapi.json")
        yield client
    await runner.cleanup()


@pytest.fixture
async def admin(pool: asyncpg.Pool) -> AsyncIterator[AdminClient]:
    """The admin API with Ada's unlimited token."""
    async with serving(admin_app(SETTINGS, pool, front_door=FRONT_DOOR)) as client:
        yield client


@pytest.fixture
async def acme(admin: AdminClient) -> AdminClient:
    """The workspaces acme (sites shop, blog and docs) and globex (site wiki)."""
    for workspace, sites in (("acme", ("shop", "blog", "docs")), ("globex", ("wiki",))):
        await admin.request("POST", "/workspaces", {"name": workspace})
        for site in sites:
            status, body, _ = await admin.request("PUT", f"/sites/{site}", {"workspace": workspace})
            assert status == 201, body
    return admin
