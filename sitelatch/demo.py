"""`sitelatch run`: a demo in one process, with sites, two API keys, and commands to try."""

import fcntl
import json
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from aiohttp import web

from admin.api.site_creation import NewSite, add_sites
from admin.api.user_creation import create_user
from admin.api.user_list import list_users
from admin.api.users import delete_user
from admin.identity.admin_tokens import new_token, token_digest
from admin.identity.admins import COMMAND, Actor, Person
from admin.key_encryption import key_cipher, new_secret
from proxy.observe.background_writer import BackgroundWriter
from sitelatch.config import Config
from sitelatch.config_file import load
from sitelatch.database import connection_to, opened_database
from sitelatch.failures import CannotServe
from sitelatch.sample_api import sample_api
from sitelatch.serve import serve
from sitelatch.signals import Signals, unless

_SITES = {"acme": ("shop", "blog", "docs"), "globex": ("wiki",)}
_PERSON = Person("Demo", "demo@acme.example")
_ACTOR = Actor(_PERSON, COMMAND)
_ALL_SITES, _SHOP = "demo: all sites", "demo: shop"
_CONFIG = "sitelatch.toml"
_RETRIES = 3
_SITES_OF_SAMPLE = '["path:/api/sites/{site}/**", { query = "site", paths = ["/api/uptime"] }]'
_SITES_OF_UNKNOWN = """[
    "path:/api/sites/{site}/**",
    # For a query or header rule, state the paths on which your API reads it, for example
    # { query = "site", paths = ["/api/query"] }. Without `paths`, the rule applies to every path.
    "query:site",
    "header:X-Site",
]"""
_PORTS = {"proxy": 8080, "ops": 9090, "admin": 9091}


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets that the demo prints."""

    all_sites: str | None
    shop: str | None
    admin_token: str


async def run_demo(directory: Path, upstream: str | None, log: BackgroundWriter) -> int:
    """Run the demo until Ctrl-C, and return the exit code. Its files are in `directory`, which must exist."""
    signals = Signals(hangup_stops=True)
    signals.listen()
    async with AsyncExitStack() as stack:
        demo = await unless(signals.stop, stack.enter_async_context(_prepared(directory, upstream)))
        if demo is None:
            return 0
        config, keys = demo
        for _ in range(_RETRIES):
            try:
                return await _serve(config, keys, upstream, signals, log)
            except CannotServe:
                # Another demo that starts at the same time may have taken the chosen ports, so choose new ones.
                file, url = config.directory / _CONFIG, config.proxy.routes[0].upstream
                config = _write_config(file, url, keys.admin_token, sample=upstream is None)
        return await _serve(config, keys, upstream, signals, log)


async def _serve(config: Config, keys: Keys, upstream: str | None, signals: Signals, log: BackgroundWriter) -> int:
    def opened() -> None:
        # The demo already serves, so it must not wait for a reader of standard output.
        BackgroundWriter(sys.stdout.fileno()).write_line(_instructions(config, keys, upstream), keep=True)

    return await serve(config, signals, log, opened=opened)


@asynccontextmanager
async def _prepared(directory: Path, upstream: str | None) -> AsyncIterator[tuple[Config, Keys]]:
    """Yield a config that is ready to serve, with a running data API and a database that contains the demo data."""
    with _locked(directory):
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(_sample_api()) if upstream is None else upstream
            token = new_token()
            config = _write_config(directory / _CONFIG, url, token, sample=upstream is None)
            # Keep the embedded server running until the end. Otherwise it would stop here and start again in `serve`.
            await stack.enter_async_context(opened_database(config.database, config.directory))
            async with connection_to(config.database, config.directory) as connection:
                keys = await _fill(connection, config, token)
            yield config, keys


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotServe(
                f"a demo is already running in {directory}. Stop it, or choose another --directory."
            ) from None
        yield


def _write_config(file: Path, upstream: str, token: str, *, sample: bool) -> Config:
    file.touch(mode=0o600)
    text = _config_text(upstream, token_digest(token), _kept_secret(file.parent), sample=sample)
    file.write_text(text, encoding="utf-8")
    return load(file, {})


def _kept_secret(directory: Path) -> str:
    """Return the secret that encrypts recoverable keys. It is stored, because the database depends on it."""
    file = directory / "recoverable-keys"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(new_secret(), encoding="ascii")
    return file.read_text(encoding="ascii")


@asynccontextmanager
async def _sample_api() -> AsyncIterator[str]:
    """Run the sample data API on a free port, and yield its URL."""
    runner = web.AppRunner(sample_api(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _fill(connection: asyncpg.Connection, config: Config, token: str) -> Keys:
    """Add the sites, and replace the API users of an earlier run, so that new keys can be printed."""
    for workspace, sites in _SITES.items():
        await add_sites(
            connection,
            workspace=workspace,
            sites=[NewSite(site) for site in sites],
            by=_ACTOR,
            create_workspace=True,
        )
    for user in (await list_users(connection, search="demo: ")).items:
        if user.name in (_ALL_SITES, _SHOP):
            await delete_user(connection, user.id, by=_ACTOR)
    users = [
        await create_user(
            connection,
            workspace="acme",
            all_sites=sites is None,
            sites=sites,
            name=name,
            by=_ACTOR,
            cipher=key_cipher(config.admin.recoverable_keys),
        )
        for name, sites in ((_ALL_SITES, None), (_SHOP, ("shop",)))
    ]
    return Keys(users[0].api_key, users[1].api_key, token)


def _config_text(upstream: str, token_sha256: str, secret: str, *, sample: bool) -> str:
    proxy, ops, admin = (f"127.0.0.1:{_free_port(port)}" for port in _PORTS.values())
    return f"""# Written by `sitelatch run`, which overwrites it on each start. Copy it to start your own config.
[proxy]
listen = "{proxy}"

[[proxy.routes]]
name = "data"
upstream = {json.dumps(upstream)}
sites = {_SITES_OF_SAMPLE if sample else _SITES_OF_UNKNOWN}
public = ["GET /api/health"]

[database]
url = "embedded:postgres"

[ops]
listen = "{ops}"

[admin]
listen = "{admin}"
recoverable_keys = "{secret}"

[[admin.tokens]]
name = "{_PERSON.name}"
email = "{_PERSON.email}"
sha256 = "{token_sha256}"
"""


def _free_port(preferred: int) -> int:
    """Return the preferred port if it is free, otherwise another free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            bound: int = probe.getsockname()[1]
            return bound
    raise CannotServe("no free port on 127.0.0.1.")


def _instructions(config: Config, keys: Keys, upstream: str | None) -> str:
    front, ops, admin = (f"http://{listen}" for listen in (config.proxy.listen, config.ops.listen, config.admin.listen))

    def data(site: str, key: str | None) -> str:
        path = f"/?site={site}" if upstream else f"/api/sites/{site}/uptime"
        return _curl(front + path, f"X-API-Key: {key}" if key else None)

    upstream_name = upstream or "a sample data API with monitoring data"
    lines = [
        "",
        f"Sitelatch listens on {front}, in front of {upstream_name}.",
        f"The admin page is at {admin}/admin/. Sign in with the admin token.",
        "The workspace acme has the sites shop, blog and docs. The workspace globex has the site wiki.",
        "",
        f"  API key for all sites of acme   {keys.all_sites}",
        f"  API key for shop only           {keys.shop}",
        f"  admin token                     {keys.admin_token}",
        "",
        "200: the key covers shop.",
        f"  {data('shop', keys.shop)}",
        "403: the key covers shop, but not blog.",
        f"  {data('blog', keys.shop)}",
        "403: the key covers all sites of acme, but wiki belongs to globex.",
        f"  {data('wiki', keys.all_sites)}",
        "401: the request has no key.",
        f"  {data('shop', None)}",
        "List the API users and their last activity through the admin API.",
        f"  {_curl(admin + '/admin/users', f'Authorization: Bearer {keys.admin_token}')}",
        "Show the metrics.",
        f"  {_curl(ops + '/metrics')}",
        "",
        f"The config is {config.directory / 'sitelatch.toml'}. You can use it with all other commands.",
        "Press Ctrl-C to stop.",
        "",
    ]
    return "\n".join(lines)


def _curl(url: str, header: str | None = None) -> str:
    return " ".join(["curl -i", *(["-H", shlex.quote(header)] if header else []), shlex.quote(url)])
