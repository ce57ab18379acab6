"""Very large bodies are relayed as they arrive, without using more memory."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.harness import Bench, Lane, Lanes, serving

PIECE = b"0123456789abcdef" * 16384
FLAT_KIB = 48 * 1024
"""The allowed growth of the process, regardless of the body's size."""

SIZES = [
    pytest.param(200 << 20, id="200MB"),
    pytest.param(10_000_000_000, id="10GB", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    with serving(tmp_path_factory.mktemp("large"), database_url, Lanes(12)) as bench:
        yield bench


@pytest.fixture
def lane(bench: Bench) -> Lane:
    """A lane whose data service is a thread, because blocking sockets are fastest."""
    return bench.lanes.next(bench.latch, bench.keys)


def read_head(sock: socket.socket) -> bytes:
    """Read a head and nothing after it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(1)
        assert data, head
        head += data
    return head


def send_body(sock: socket.socket, size: int, *, chunked: bool) -> None:
    left = size
    while left:
        piece = PIECE[: min(left, len(PIECE))]
        sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        left -= len(piece)
    if chunked:
        sock.sendall(b"0\r\n\r\n")


def count_body(sock: socket.socket, head: bytes) -> int:
    """Discard a body, and return its size without framing."""
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" not in lines:
        [length] = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
        return count_bytes(sock, 0, length)
    seen = 0
    while size := chunk_size(sock):
        assert count_bytes(sock, seen, size) == size
        assert sock.recv(1) + sock.recv(1) == b"\r\n"  # MSG_WAITALL does not wait on a socket with a timeout
        seen += size
    return seen


def chunk_size(sock: socket.socket) -> int:
    line = b""
    while not line.endswith(b"\r\n"):
        line += sock.recv(1)
    return int(line, 16)


def count_bytes(sock: socket.socket, at: int, expected: int) -> int:
    """Discard up to `count` bytes, and check the first byte of each piece. `at` is their offset in the body."""
    buffer = bytearray(1 << 18)
    seen = 0
    while seen < expected:
        count = sock.recv_into(buffer, min(len(buffer), expected - seen))
        if not count:
            break
        assert buffer[0] == PIECE[(at + seen) % 16]
        seen += count
    return seen


def serve_in_thread(lane: Lane, serve: Callable[[socket.socket], None]) -> threading.Thread:
    """Serve one connection in a thread."""

    def run() -> None:
        lane.socket.setblocking(True)
        sock, _ = lane.socket.accept()
        with sock:
            sock.settimeout(120)
            serve(sock)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def client_socket(lane: Lane) -> socket.socket:
    host, _, port = lane.latch.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=120)


def check_memory(lane: Lane, before: int, size: int, way: str) -> None:
    """Print the memory use, and fail if it grew with the size of the body."""
    peak = lane.latch.memory_kib("VmHWM")
    print(f"\n{way} {size / 1e9:.1f} GB: {before / 1024:.0f} MiB before, peak {peak / 1024:.0f} MiB")  # noqa: T201
    assert peak - before < FLAT_KIB


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
def test_memory_does_not_grow_with_a_large_download(lane: Lane, size: int, chunked: bool) -> None:
    before = lane.latch.memory_kib("VmRSS")
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        send_body(sock, size, chunked=chunked)

    thread = serve_in_thread(lane, serve)
    with client_socket(lane) as client:
        client.sendall(lane.request("GET", "/sites/shop/x"))
        assert count_body(client, read_head(client)) == size
    thread.join(10)
    check_memory(lane, before, size, "download")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
def test_memory_does_not_grow_with_a_large_upload(lane: Lane, size: int, chunked: bool) -> None:
    before = lane.latch.memory_kib("VmRSS")
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    counted: list[int] = []

    def serve(sock: socket.socket) -> None:
        counted.append(count_body(sock, read_head(sock)))
        sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    thread = serve_in_thread(lane, serve)
    with client_socket(lane) as client:
        client.sendall(lane.request("POST", "/sites/shop/x", framing))
        send_body(client, size, chunked=chunked)
        assert read_head(client).startswith(b"HTTP/1.1 204 ")
    thread.join(10)
    assert counted == [size]
    check_memory(lane, before, size, "upload")
