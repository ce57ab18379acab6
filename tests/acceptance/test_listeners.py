"""Listeners: unix sockets that other users may use, and every address of the machine."""

import asyncio
import grp
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.relay.aiohttp_listeners import start_listening
from proxy.settings import ListenSettings
from tests.acceptance.harness import Sitelatch
from tests.acceptance.shell import sitelatch
from tests.acceptance.wire import Answering, Upstream, connect, listening_socket, port_of, until
from tests.ports import free_port

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")

OTHER = pwd.getpwnam("nobody")
GROUP = grp.getgrgid(OTHER.pw_gid).gr_name


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, with a short name."""
    with tempfile.TemporaryDirectory(prefix="sl-") as name:
        os.chmod(name, 0o755)  # noqa: S103 - the other user must be able to enter it
        yield Path(name)


def routes(upstream: str) -> list[dict[str, Any]]:
    return [{"name": "data", "upstream": upstream, "sites": ["path:/{site}/**"], "public": ["GET /health"]}]


def status_for_other_user(path: Path, target: str) -> str:
    """Return the status that another user's curl gets over a unix socket, or its error."""
    as_other = ["setpriv", f"--reuid={OTHER.pw_uid}", f"--regid={OTHER.pw_gid}", "--clear-groups"]
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(path)]
    done = subprocess.run([*as_other, *curl, f"http://a{target}"], capture_output=True, text=True, timeout=30)
    return done.stdout if done.returncode == 0 else done.stderr


@needs_root
@pytest.mark.parametrize(
    "listeners",
    [
        {
            "proxy": ({}, False, 0o755),
            "ops": ({"socket_group": GROUP}, True, 0o660),
            "admin": ({"socket_mode": "0666"}, True, 0o666),
        },
        {
            "proxy": ({"socket_group": str(OTHER.pw_gid)}, True, 0o660),
            "ops": ({"socket_mode": "0600", "socket_group": GROUP}, False, 0o600),
            "admin": ({"socket_mode": "0660"}, False, 0o660),
        },
    ],
    ids=["umask 022, group, mode", "group id, mode and group, mode of the own group"],
)
def test_another_user_may_connect_to_a_socket_as_the_config_says(
    folder: Path, database_url: str, listeners: dict[str, tuple[dict[str, str], bool, int]]
) -> None:
    latch = Sitelatch(folder, database_url, routes("http://127.0.0.1:9"))
    for table, (access, _, _) in listeners.items():
        latch.tables[table] = {**latch.tables[table], "listen": f"unix:{folder}/{table}.sock", **access}
    old = os.umask(0o022)
    try:
        latch.launch()
    finally:
        os.umask(old)
    try:
        asyncio.run(until(lambda: ready(folder / "ops.sock"), "the process is ready", 60))
        targets = {"proxy": ("/shop/x", "401"), "ops": ("/livez", "200"), "admin": ("/admin/", "200")}
        for table, (target, status) in targets.items():
            _, allowed, mode = listeners[table]
            path = folder / f"{table}.sock"
            assert path.stat().st_mode & 0o777 == mode
            found = status_for_other_user(path, target)
            assert found == status if allowed else "ould" in found and "connect" in found, found
    finally:
        latch.stop()


def ready(path: Path) -> bool:
    done = subprocess.run(
        ["curl", "-sf", "-o", "/dev/null", "--unix-socket", str(path), "http://a/readyz"], timeout=30, check=False
    )
    return done.returncode == 0


@needs_root
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
async def test_nginx_as_another_user_passes_requests_through_the_socket(folder: Path, database_url: str) -> None:
    front, port = folder / "front.sock", free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off;
user {OTHER.pw_name} {GROUP};
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://unix:{front}; proxy_set_header Host $host; }}
    }}
}}
""")
    with listening_socket() as sock:
        proxy = {"listen": f"unix:{front}", "socket_group": GROUP, "trusted_proxies": ["unix"]}
        latch = Sitelatch(folder, database_url, routes(f"http://127.0.0.1:{port_of(sock)}"), proxy=proxy)
        latch.start()
        nginx = await asyncio.create_subprocess_exec(
            "nginx", "-c", str(config), "-e", "stderr", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await until(lambda: listens(port), "nginx listens")
            answering = Answering()
            async with Upstream(sock, answering), connect(f"127.0.0.1:{port}") as client:
                await client.send(b"GET /health HTTP/1.1\r\nHost: data.example\r\nConnection: close\r\n\r\n")
                assert (await client.answer()).status == 200
            assert answering.requests[0].one("Host") == b"data.example"
        finally:
            nginx.terminate()
            await nginx.wait()
            latch.stop()


def listens(port: int, family: socket.AddressFamily = socket.AF_INET) -> bool:
    with socket.socket(family) as probe:
        return probe.connect_ex(("127.0.0.1" if family == socket.AF_INET else "::1", port)) == 0


@pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="needs IPv6")
async def test_an_asterisk_accepts_ipv4_and_ipv6_clients_under_their_own_addresses(
    tmp_path: Path, database_url: str
) -> None:
    port = free_port()
    with listening_socket() as sock:
        upstream = f"http://127.0.0.1:{port_of(sock)}"
        latch = Sitelatch(tmp_path, database_url, routes(upstream), proxy={"listen": f"*:{port}"})
        latch.tables["ops"] = {"listen": latch.ops.replace("127.0.0.1", "*")}
        latch.start()
        try:
            assert sitelatch("healthcheck", "--config", str(latch.config)).code == 0
            answering = Answering()
            async with Upstream(sock, answering):
                for host in ("127.0.0.1", "::1"):
                    async with connect(f"{host}:{port}") as client:
                        await client.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                        assert (await client.answer()).status == 200
            seen = [request.one("X-Forwarded-For") for request in answering.requests]
            assert seen == [b"127.0.0.1", b"::1"]
        finally:
            latch.stop()


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("unix:{folder}/missing/x.sock", "the folder {folder}/missing does not exist"),
        ("unix:{folder}/file", "there is another file at this path, which is not a socket"),
        ("unix:{folder}/busy.sock", "Address already in use"),
        ("127.0.0.1:{port}", "[Errno 98] Address already in use"),
        ("*:{port}", "Address already in use"),
        ("no-such-host.invalid:8080", "Name or service not known"),
    ],
    ids=["no folder", "not a socket", "in use", "port in use", "port of every address in use", "unknown name"],
)
async def test_the_error_says_why_listening_is_not_possible(folder: Path, listen: str, message: str) -> None:
    (folder / "file").write_text("")
    runner = web.AppRunner(web.Application())
    await runner.setup()
    with listening_socket(str(folder / "busy.sock")), listening_socket() as busy:
        places = {"folder": str(folder), "port": str(port_of(busy))}
        with pytest.raises(OSError, match=re.escape(message.format(**places))):
            await start_listening(runner, ListenSettings(listen=listen.format(**places)))
        assert (folder / "busy.sock").is_socket()
    await runner.cleanup()


def test_a_process_that_cannot_listen_names_the_address_and_the_reason(folder: Path, database_url: str) -> None:
    listen = f"unix:{folder}/missing/x.sock"
    latch = Sitelatch(folder, database_url, routes("http://127.0.0.1:9"), proxy={"listen": listen})
    latch.launch()
    assert latch.wait() == 1
    assert latch.log_lines()[-1]["reason"] == f"[proxy] listen {listen}: the folder {folder}/missing does not exist"


async def test_a_listener_that_stops_removes_its_socket_but_not_that_of_its_successor(folder: Path) -> None:
    path = folder / "x.sock"
    settings = ListenSettings(listen=f"unix:{path}")
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await start_listening(runner, settings)
    assert path.is_socket()
    await runner.cleanup()
    assert not path.exists()
    await runner.setup()
    await start_listening(runner, settings)
    path.unlink()
    with listening_socket(str(path)):
        await runner.cleanup()
        assert path.is_socket()


def test_a_process_removes_its_sockets_when_it_stops(folder: Path, database_url: str) -> None:
    latch = Sitelatch(folder, database_url, routes("http://127.0.0.1:9"), proxy={"listen": f"unix:{folder}/x.sock"})
    latch.start()
    assert (folder / "x.sock").is_socket()
    latch.stop()
    assert not (folder / "x.sock").exists()
