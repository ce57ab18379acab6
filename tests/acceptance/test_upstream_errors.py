"""Each fault of an upstream has a name: in the access log, in the metrics, and once in the log."""

import contextlib
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.upstream_errors import Reason
from tests.acceptance.certificates import Authority, Pair
from tests.acceptance.harness import Bench, Lanes, Table, serving
from tests.acceptance.wire import Message, Upstream, Wire, connect, listening_socket, port_of, until
from tests.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short name, because a unix socket path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.pair("127.0.0.1")


class Sockets:
    """The listening sockets of the module's upstreams, by route name."""

    def __init__(self) -> None:
        self._open: dict[str, socket.socket] = {}

    def listen(self, name: str) -> int:
        """Listen for a route, and return the port."""
        self._open[name] = listening_socket()
        return port_of(self._open[name])

    def upstream(self, name: str, tls: ssl.SSLContext | None = None) -> Upstream:
        return Upstream(self._open[name], tls=tls)

    def close(self) -> None:
        for sock in self._open.values():
            sock.close()


@pytest.fixture(scope="module")
def sockets() -> Iterator[Sockets]:
    sockets = Sockets()
    yield sockets
    sockets.close()


def s_server(port: int, pair: Pair, *options: str) -> list[str]:
    """Return the command of a TLS server that sends alerts. Python's server closes the connection without one."""
    address = f"127.0.0.1:{port}"
    files = ("-cert", pair.certificate, "-key", pair.key)
    return ["openssl", "s_server", "-quiet", "-accept", address, *files, *options]


@pytest.fixture(scope="module")
def tls_servers(pair: Pair) -> Iterator[dict[str, int]]:
    """Servers that refuse Sitelatch in the handshake (TLS 1.2) or after it (TLS 1.3). Their ports by route name."""
    options = {"alert": ("-tls1_2", "-Verify", "1"), "late-alert": ("-Verify", "1")}
    ports = {name: free_port() for name in options}
    with contextlib.ExitStack() as stack:
        for name, port in ports.items():
            command = s_server(port, pair, *options[name])
            server = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL))
            stack.callback(server.kill)
        yield ports


def route(name: str, upstream: str, **settings: Any) -> Table:
    return {"name": name, "path": f"/{name}", "upstream": upstream, "public": [f"GET /{name}/x"], **settings}


@pytest.fixture(scope="module")
def routes(
    folder: Path, authority: Authority, pair: Pair, sockets: Sockets, tls_servers: dict[str, int]
) -> list[Table]:
    trusted: Table = {"upstream_tls": {"ca": authority.file}}
    stale = folder / "stale.sock"
    listening_socket(str(stale)).close()
    (folder / "plain").write_text("")
    found = [
        route("refused", f"http://127.0.0.1:{free_port()}"),
        route("refused-twice", f"http://localhost:{free_port()}"),
        route("unknown-name", "http://no-such-host.invalid:9"),
        route("invalid-name", f"http://{'a' * 70}.example:9"),
        route("missing-socket", f"unix:{folder}/missing.sock"),
        route("no-folder", f"unix:{folder}/plain/x.sock"),
        route("stale-socket", f"unix:{stale}"),
        *(route(name, f"https://127.0.0.1:{port}", **trusted) for name, port in tls_servers.items()),
    ]
    tls = ("expired", "early", "wrong-name", "not-tls", "closing-tls", "silent-tls")
    plain = ("plain", "truncated", "reset", "silent", "broken", "returns")
    return [
        *found,
        *(route(name, f"https://127.0.0.1:{sockets.listen(name)}", **trusted) for name in tls),
        route("self-signed", f"https://127.0.0.1:{sockets.listen('self-signed')}"),
        *(route(name, f"http://127.0.0.1:{sockets.listen(name)}") for name in plain),
    ]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str, routes: list[Table]) -> Iterator[Bench]:
    limits = {"connect_seconds": 1, "answer_seconds": 1}
    with serving(tmp_path_factory.mktemp("faults"), database_url, Lanes(0), routes=routes, limits=limits) as bench:
        yield bench


async def fetch(bench: Bench, name: str) -> Message:
    async with connect(bench.latch.address) as client:
        await client.send(f"GET /{name}/x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return await client.answer()


def logged(bench: Bench, route: str) -> list[dict[str, Any]]:
    return [line for line in bench.latch.log_lines() if line.get("route") == route]


async def check(bench: Bench, name: str, reason: Reason, code: str) -> None:
    """Send a request, and check that its failure has this reason everywhere."""
    before = bench.latch.metric("sitelatch_upstream_errors_total", route=name, reason=reason)
    lines = len(logged(bench, name))
    refusal = await fetch(bench, name)
    assert refusal.code == code
    await until(lambda: len(logged(bench, name)) > lines, "the access log has the request")
    assert logged(bench, name)[-1]["upstream_error"] == reason
    assert bench.latch.metric("sitelatch_upstream_errors_total", route=name, reason=reason) == before + 1
    [url] = [route["upstream"] for route in bench.latch.tables["proxy"]["routes"] if route["name"] == name]
    causes = [line for line in bench.latch.log_lines() if line["event"] == "upstream_fails" and line["upstream"] == url]
    assert [line["reason"] for line in causes if line["reason"] == reason] == [reason]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refused", Reason.CONNECTION_REFUSED),
        ("refused-twice", Reason.CONNECTION_REFUSED),
        ("unknown-name", Reason.NAME_NOT_FOUND),
        ("invalid-name", Reason.NAME_NOT_FOUND),
        ("missing-socket", Reason.SOCKET_NOT_FOUND),
        ("no-folder", Reason.SOCKET_NOT_FOUND),
        ("stale-socket", Reason.CONNECTION_REFUSED),
        ("alert", Reason.TLS_ALERT),
    ],
)
async def test_a_failed_connection_to_an_upstream_has_a_reason(bench: Bench, name: str, reason: Reason) -> None:
    await check(bench, name, reason, "upstream_unreachable")


async def test_a_tls_alert_after_the_handshake_is_reported_as_the_reason(bench: Bench) -> None:
    """A TLS 1.3 server misses the client's certificate only after the client considers the handshake complete."""
    await check(bench, "late-alert", Reason.TLS_ALERT, "upstream_broken")


@contextlib.asynccontextmanager
async def served(upstream: Upstream, answer: bytes | None, *, reset: bool = False) -> AsyncIterator[None]:
    """Let the upstream read a request and send `answer`, or nothing, and then close the connection."""

    async def handler(wire: Wire) -> None:
        await wire.more()
        if answer is None:
            await wire.closed()
            return
        await wire.send(answer)
        if reset:
            await wire.reset()

    upstream.handler = handler
    async with upstream:
        yield


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("expired", Reason.CERTIFICATE_EXPIRED),
        ("early", Reason.CERTIFICATE_NOT_YET_VALID),
        ("wrong-name", Reason.CERTIFICATE_WRONG_NAME),
        ("self-signed", Reason.CERTIFICATE_UNTRUSTED),
    ],
)
async def test_a_certificate_that_is_not_accepted_is_the_reason(
    bench: Bench, sockets: Sockets, authority: Authority, pair: Pair, name: str, reason: Reason
) -> None:
    certificates = {
        "expired": lambda: authority.pair("127.0.0.1", days=-1),
        "early": lambda: authority.pair("127.0.0.1", days=3, starts_in=2),
        "wrong-name": lambda: authority.pair("data.internal"),
        "self-signed": lambda: pair,
    }
    async with served(sockets.upstream(name, certificates[name]().server_context()), OK):
        await check(bench, name, reason, "upstream_unreachable")


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("not-tls", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Reason.TLS_NOT_SPOKEN),
        ("closing-tls", b"", Reason.CLOSED),
        ("silent-tls", None, Reason.CONNECT_TIMEOUT),
    ],
)
async def test_a_port_without_tls_is_the_reason(
    bench: Bench, sockets: Sockets, name: str, answer: bytes | None, reason: Reason
) -> None:
    async with served(sockets.upstream(name), answer):
        await check(bench, name, reason, "upstream_unreachable")


BROKEN = [
    (b"\x15\x03\x01\x00\x02\x02\x46", Reason.TLS_EXPECTED),
    (b"nonsense\r\n\r\n", Reason.NOT_HTTP),
    (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Reason.NOT_HTTP),
    (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", Reason.NOT_HTTP),
    (b"HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n", Reason.MALFORMED_HEAD),
    (b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", Reason.MALFORMED_HEAD),
    (b"HTTP/1.1 200 \x1b[2JOK\r\nContent-Length: 0\r\n\r\n", Reason.MALFORMED_HEAD),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Reason.INVALID_FRAMING),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Reason.INVALID_FRAMING),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", Reason.INVALID_FRAMING),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Reason.INVALID_FRAMING),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Reason.INVALID_FRAMING),
    (b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 300_000, Reason.HEAD_TOO_LARGE),
    (b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", Reason.UNEXPECTED_UPGRADE),
    (b"HTTP/1.1 101 Go\r\n\r\n", Reason.UNEXPECTED_UPGRADE),
    (b"HTTP/3 200 OK\r\nContent-Length: 0\r\n\r\n", Reason.NOT_HTTP),
]


@pytest.mark.parametrize(("answer", "reason"), BROKEN, ids=[f"{answer[:60]!r}" for answer, _ in BROKEN])
async def test_a_response_that_is_not_valid_has_a_reason(
    bench: Bench, sockets: Sockets, answer: bytes, reason: Reason
) -> None:
    async with served(sockets.upstream("broken"), answer):
        await check(bench, "broken", reason, "upstream_broken")


async def test_an_upstream_that_closes_resets_or_stays_silent_is_reported(bench: Bench, sockets: Sockets) -> None:
    async with served(sockets.upstream("plain"), b""):
        await check(bench, "plain", Reason.CLOSED, "upstream_broken")
    async with served(sockets.upstream("reset"), b"HTTP/1.1 20", reset=True):
        await check(bench, "reset", Reason.CONNECTION_RESET, "upstream_broken")
    async with served(sockets.upstream("silent"), None):
        await check(bench, "silent", Reason.RESPONSE_TIMEOUT, "upstream_timeout")


@pytest.mark.parametrize(("rest", "reason"), [(b"", Reason.CLOSED), (b"no size\r\n", Reason.MALFORMED_BODY)])
async def test_a_response_that_was_cut_short_has_a_reason(
    bench: Bench, sockets: Sockets, rest: bytes, reason: Reason
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + rest
    lines = len(logged(bench, "truncated"))
    async with served(sockets.upstream("truncated"), answer), connect(bench.latch.address) as client:
        await client.send(b"GET /truncated/x HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.closed()
    await until(lambda: len(logged(bench, "truncated")) > lines, "the access log has the request")
    line = logged(bench, "truncated")[-1]
    assert (line["outcome"], line["upstream_error"]) == ("cut_short", reason)


async def test_a_cause_is_logged_once_and_again_when_it_is_over(bench: Bench, sockets: Sockets) -> None:
    def causes() -> list[dict[str, Any]]:
        events = ("upstream_fails", "upstream_still_fails", "upstream_no_longer_fails")
        [url] = [route["upstream"] for route in bench.latch.tables["proxy"]["routes"] if route["name"] == "returns"]
        return [line for line in bench.latch.log_lines() if line["event"] in events and line["upstream"] == url]

    async with served(sockets.upstream("returns"), b""):
        for _ in range(20):
            assert (await fetch(bench, "returns")).status == 502
    async with served(sockets.upstream("returns"), OK):
        assert (await fetch(bench, "returns")).status == 200
    await until(lambda: len(causes()) > 1, "the log says that the failure is over", seconds=20)
    begun, over = causes()
    assert (begun["event"], begun["level"], begun["reason"], begun["requests"]) == (
        "upstream_fails",
        "warning",
        "closed",
        1,
    )
    assert (over["event"], over["level"], over["reason"], over["requests"]) == (
        "upstream_no_longer_fails",
        "info",
        "closed",
        20,
    )


async def test_text_from_an_upstream_does_not_reach_the_log(bench: Bench, sockets: Sockets) -> None:
    for answer in (b"INJECTED\r\n\r\n", b"HTTP/1.1 200 OK\r\nINJECTED HERE: 1\r\n\r\n", b"HTTP/1.1 INJECTED\r\n\r\n"):
        async with served(sockets.upstream("broken"), answer):
            assert (await fetch(bench, "broken")).status == 502
    assert "INJECTED" not in bench.latch.output.read_text()
    assert "INJECTED" not in bench.latch.metrics()
