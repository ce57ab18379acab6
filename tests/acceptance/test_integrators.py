"""The examples of the integrators' guide, run against the front door with every kind of key location and site rule."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from admin.integrators_guide import guide
from proxy.settings import ProxySettings, RouteSettings
from tests.acceptance.harness import ADMIN_TOKEN, Sitelatch, Table
from tests.ports import free_port

SECONDS = 60.0
ROUTES: list[dict[str, Any]] = [
    {"path": "/in-basic", "keys_from": ["basic"], "sites": ["query:site"]},
    {"path": "/in-query", "keys_from": ["query:api_key"], "sites": [{"query": "id", "template": "eq.{site}"}]},
    {"path": "/in-cookie", "keys_from": ["cookie:key"], "sites": ["header:X-Site"]},
    {"path": "/bearer", "keys_from": ["bearer"], "sites": ["path:/bearer/{site}.json"]},
    {"path": "/brackets", "sites": ["query:filter[site]"]},
    {"path": "/host", "sites": ["host:{site}.example"]},
    {"path": "/", "sites": ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]},
]


@dataclass
class DataApi:
    """A data API that can first respond with some 503s, or with a redirect."""

    busy: int = 0
    requests: int = 0
    moved_to: str | None = None

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        if self.moved_to:
            return web.Response(status=302, headers={"Location": self.moved_to})
        if self.busy:
            self.busy -= 1
            return web.Response(status=503, headers={"Retry-After": "0"})
        if request.headers.get("Upgrade") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("hello")
            async for _ in socket:
                pass
            return socket
        return web.json_response({"site": "shop"})


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def latch(tmp_path_factory: pytest.TempPathFactory, database_url: str, port: int) -> Iterator[Sitelatch]:
    upstream = f"http://127.0.0.1:{port}"
    routes: list[Table] = [
        {"name": f"route{number}", "upstream": upstream, **route} for number, route in enumerate(ROUTES)
    ]
    latch = Sitelatch(tmp_path_factory.mktemp("guide"), database_url, routes, limits={"upstream_idle_seconds": 0.1})
    try:
        latch.start()
        with latch.admin_client() as client:
            client.post(
                "/sites", json={"csv": "site,workspace\nshop,acme\n", "create_workspaces": True}
            ).raise_for_status()
        yield latch
    finally:
        latch.stop()


@pytest.fixture
async def data(port: int) -> AsyncIterator[DataApi]:
    api = DataApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield api
    await runner.cleanup()


def examples(latch: Sitelatch, options: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """Return the code blocks of the guide for an installation with this route, by language."""
    route = RouteSettings.model_validate({"name": "data", "upstream": "http://x", **(options or ROUTES[-1])})
    text = guide(ProxySettings(listen=latch.address, routes=(route,)), ("header:X-API-Key", "bearer"))
    code: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        code.setdefault(language, []).append(block)
    return code


PROGRAMS = {
    "sh": ("sh", "-euc"),
    "python": (sys.executable, "-c"),
    "js": ("node", "--input-type=module", "--eval"),
}


async def start(language: str, code: str, key: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *PROGRAMS[language],
        code,
        env={"PATH": os.environ["PATH"], "API_KEY": key, "NO_PROXY": "*"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(language: str, code: str, key: str) -> tuple[int | None, str, str]:
    """Run an example. Return the exit code, the output and the errors."""
    process = await start(language, code, key)
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("route", "language"),
    [
        pytest.param(route, language, id=f"{route['path']}-{language}")
        for route in ROUTES
        for language in PROGRAMS
        if (route["path"], language) != ("/host", "js")  # `fetch` ignores Host, and this host name does not resolve
    ],
)
async def test_an_example_works_with_every_key_location_and_site_rule(
    latch: Sitelatch, data: DataApi, route: dict[str, Any], language: str
) -> None:
    user = latch.create_user("acme", "shop")
    code, out, err = await run(language, examples(latch, route)[language][0], user.key)
    assert code == 0, err
    assert data.requests == 1
    assert '"site": "shop"' in out.replace("'", '"').replace("site:", '"site":')


@pytest.mark.parametrize(
    ("language", "number", "scheme"), [*((language, 0, "http") for language in PROGRAMS), ("python", 1, "ws")]
)
async def test_an_example_does_not_send_the_key_to_another_host(
    latch: Sitelatch, data: DataApi, language: str, number: int, scheme: str
) -> None:
    elsewhere = DataApi()
    async with RawTestServer(elsewhere.answer) as server:
        data.moved_to = str(server.make_url("/").with_scheme(scheme))
        user = latch.create_user("acme", "shop")
        code, out, err = await run(language, examples(latch)[language][number], user.key)
    assert elsewhere.requests == 0
    assert data.requests == 1
    assert "302" in out + err
    assert code == (0 if language == "sh" else 1)  # curl prints the redirect and succeeds


@pytest.mark.parametrize("language", ["python", "js"])
async def test_an_example_retries_a_limited_number_of_times(latch: Sitelatch, data: DataApi, language: str) -> None:
    user = latch.create_user("acme", "shop")
    program = examples(latch)[language][0]
    data.busy = 2
    code, _, err = await run(language, program, user.key)
    assert (code, data.requests) == (0, 3), err
    data.busy = 100
    code, _, err = await run(language, program, user.key)
    assert code != 0
    assert "503" in err
    assert data.requests == 3 + 5


@pytest.mark.parametrize("language", ["python", "js"])
async def test_an_example_does_not_retry_a_refused_request(latch: Sitelatch, data: DataApi, language: str) -> None:
    code, _, err = await run(language, examples(latch)[language][0], "slk_nope")
    assert code != 0
    assert "invalid_key" in err
    assert data.requests == 0


async def test_the_curl_examples_retry(latch: Sitelatch, data: DataApi) -> None:
    user = latch.create_user("acme", "shop")
    data.busy = 1
    code, out, err = await run("sh", examples(latch)["sh"][1], user.key)
    assert code == 0, err
    assert out.count('{"site": "shop"}') == 2


async def test_the_websocket_example_reconnects_until_it_is_refused(latch: Sitelatch, data: DataApi) -> None:
    user = latch.create_user("acme", "shop")
    process = await start("python", examples(latch)["python"][1], user.key)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(SECONDS):
            assert await process.stdout.readline() == b"hello\n"
            with latch.admin_client() as client:
                client.delete(f"/users/{user.id}").raise_for_status()
            errors = (await process.stderr.read()).decode()
            assert await process.wait() != 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert "invalid_key" in errors
    assert data.requests == 1


def test_the_guide_with_this_installations_address_is_served_to_admins(latch: Sitelatch) -> None:
    with latch.admin_client() as client:
        page, text = client.get("/integrators"), client.get("/integrators.md")
    assert page.status_code == text.status_code == 200
    assert text.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert "attachment" in text.headers["Content-Disposition"]
    assert f"The address of the API is `{latch.url}`" in text.text
    assert f"<code>{latch.url}</code>" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert ADMIN_TOKEN not in page.text
    with httpx.Client(trust_env=False) as client:
        for path in ("integrators", "integrators.md"):
            assert client.get(f"http://{latch.admin}/admin/{path}").status_code == 401
