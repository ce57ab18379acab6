"""A name server that does not answer, in a mount namespace with another resolv.conf."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import Sitelatch, Table
from tests.acceptance.wire import Upstream, connect, listening_socket, port_of

NAME_SERVER = "127.0.0.77"
REQUESTS = 20
"""More than the event loop's own threads could look up within the test."""


def route(name: str, upstream: str) -> Table:
    return {"name": name, "path": f"/{name}", "upstream": upstream, "public": [f"GET /{name}/x"]}


@pytest.fixture
def resolv_conf(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Run a program with a resolv.conf whose name server reads nothing."""
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {NAME_SERVER}\n")
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((NAME_SERVER, 53))
        except OSError:
            pytest.skip("may not listen on port 53")
        if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
            pytest.skip("may not mount")
        yield prefix


async def test_a_silent_name_server_holds_up_no_other_upstream(
    tmp_path: Path, database_url: str, resolv_conf: tuple[str, ...]
) -> None:
    with listening_socket() as sock:
        routes = [route("silent", "http://silent.example"), route("near", f"http://localhost:{port_of(sock)}")]
        latch = Sitelatch(tmp_path, database_url, routes, limits={"connect_seconds": 60})
        try:
            latch.launch_alone(*resolv_conf)
            latch.wait_for_readiness(200)
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(REQUESTS):
                    waiting = await stack.enter_async_context(connect(latch.address))
                    await waiting.send(b"GET /silent/x HTTP/1.1\r\nHost: a\r\n\r\n")
                upstream = await stack.enter_async_context(Upstream(sock))
                client = await stack.enter_async_context(connect(latch.address))
                await client.send(b"GET /near/x HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await (await upstream.accept()).request()).target == b"/near/x"
        finally:
            latch.stop()
