"""Responses of an upstream take time linear in their size, no matter what their heads and trailers contain."""

import time

import pytest

from bench.driver import Driver
from proxy.http.response_parser import ResponseReader
from tests.cost.doubling import check_doubling
from tests.cost.heads import Shape, fill
from tests.cost.setups import SETUPS, SITE_KEY

pytestmark = pytest.mark.cost

REQUEST = Shape(fields=((b"Origin", b"https://app.example"),)).head(SITE_KEY)

# Lines that are repeated in the head.
LINES = [
    b"a{n}: b\r\n",
    b"a_{n}: b\r\n",
    b"a:\r\n",
    b"Connection: a{n}\r\n",
    b"Keep-Alive: timeout={n}\r\n",
    b"Trailer: a{n}\r\n",
    b"Server: a{n}\r\n",
    b"Set-Cookie: a{n}=b\r\n",
    b"Vary: a{n}\r\n",
    b"Access-Control-Allow-Credentials: true\r\n",
]
# (name, unit): repeated in one field's value.
VALUES = [
    (b"Connection", b"a{n},"),
    (b"Connection", b","),
    (b"Trailer", b"a{n},"),
    (b"Vary", b"a{n},"),
    (b"Vary", b"a "),
    (b"Keep-Alive", b"timeout"),
    (b"Keep-Alive", b",timeout="),
    (b"Server", b"BaseHTT"),
    (b"X", b" \t"),
]
TRAILERS = [b"a{n}: b\r\n", b"a:\r\n", b"Set-Cookie: a{n}\r\n", b"if-{n}: b\r\n"]
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


async def check(setup: str, repeated: bytes, start: bytes, end: bytes) -> None:
    """Assert that the response takes time linear in how often `repeated` occurs in it."""
    driver = Driver(SETUPS[setup])
    await driver.start()

    def seconds(size: int) -> float:
        visit = driver.connect()
        response = start + fill(repeated, size) + end
        began = time.thread_time()
        visit.exchange(REQUEST, response)
        elapsed = time.thread_time() - began
        assert visit.client.written.startswith(b"HTTP/1.1 ")
        visit.downstream.connection_lost(None)
        return elapsed

    check_doubling(seconds)
    await driver.close()


@pytest.mark.parametrize("setup", ["default", "options"])
@pytest.mark.parametrize("line", LINES)
async def test_lines_in_a_response_head_take_linear_time(setup: str, line: bytes) -> None:
    await check(setup, line, b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n")


@pytest.mark.parametrize("setup", ["default", "options"])
@pytest.mark.parametrize(("name", "unit"), VALUES)
async def test_a_long_value_in_a_response_head_takes_linear_time(setup: str, name: bytes, unit: bytes) -> None:
    await check(setup, unit, b"HTTP/1.1 200 OK\r\n" + name + b": ", b"x\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("trailer", TRAILERS)
async def test_trailers_take_linear_time(trailer: bytes) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    await check("default", trailer, start, b"\r\n")


# (beginning, unit): what a response's head in pieces of one byte repeats.
BYTE_BY_BYTE = [(b"", b"a{n}: b\r\n"), (b"X: ", b"a"), (b"X", b"a"), (b"X:", b" ")]


@pytest.mark.parametrize(("beginning", "unit"), BYTE_BY_BYTE)
def test_a_response_head_that_arrives_byte_by_byte_takes_linear_time(beginning: bytes, unit: bytes) -> None:
    def seconds(size: int) -> float:
        head = b"HTTP/1.1 200 OK\r\n" + beginning + fill(unit, size - 40)
        reader = ResponseReader()
        began = time.thread_time()
        for at in range(len(head)):
            reader.read(head[at : at + 1])
        return time.thread_time() - began

    check_doubling(seconds)


async def test_interim_responses_take_linear_time() -> None:
    await check("default", INTERIM, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
