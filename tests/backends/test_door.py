"""The front door without sockets decides and forwards exactly like `sitelatch serve`."""

import itertools
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.acceptance.harness import Bench, Lanes, serving
from tests.acceptance.wire import Answering, Message, Upstream, connect, listening_socket, port_of
from tests.backends.door import Door, Sent
from tests.backends.generator import requests
from tests.backends.request import Request
from tests.backends.rulesets import KEY, OPEN

pytestmark = pytest.mark.backends

REQUESTS = 400

_DIFFERENT = (b"x-request-id", b"x-api-user-id")
"""Headers with IDs that differ between the two."""


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with listening_socket() as sock:
        yield sock


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str, listener: socket.socket) -> Iterator[Bench]:
    route = {"name": "data", "upstream": f"http://127.0.0.1:{port_of(listener)}", "sites": list(OPEN.sites)}
    folder = tmp_path_factory.mktemp("door")
    with serving(folder, database_url, Lanes(0), routes=[route], log={"access": "off"}) as bench:
        yield bench


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    opened = OPEN.door(KEY)
    await opened.warm()
    yield opened
    await opened.close()


def _head(raw: bytes) -> list[bytes]:
    lines = raw.split(b"\r\n")
    return [line for line in lines if line.partition(b":")[0].lower() not in _DIFFERENT]


async def _serve(bench: Bench, request: Request, seen: list[Message]) -> Sent:
    """Send a request to the running front door, and return the outcome."""
    before = len(seen)
    async with connect(bench.latch.address) as client:
        await client.send(request.raw(bench.keys.shop.key.encode()))
        answer = await client.answer(request.method.decode())
    if len(seen) > before:
        return Sent("passed", seen[before].raw_head, seen[before].body)
    return Sent("refused" if request.method == b"HEAD" else answer.code)


def _decided(request: Request, sent: Sent) -> tuple[str, list[bytes], bytes]:
    """Return the parts to compare. The code of a refused HEAD is unknown, because the response has no body."""
    code = "refused" if request.method == b"HEAD" and not sent.passed else sent.code
    return code, _head(sent.head), sent.body


async def test_the_door_without_sockets_behaves_like_serve(bench: Bench, listener: socket.socket, door: Door) -> None:
    answering = Answering()
    differences = []
    passed = 0
    generated = (request for request in requests("door") if request.rules == OPEN.name)
    async with Upstream(listener, answering):
        for request in itertools.islice(generated, REQUESTS):
            expected = door.send(request.raw(KEY.encode()))
            served = await _serve(bench, request, answering.requests)
            if served.passed:
                passed += 1
                door.learn([])  # the response names no server
            if _decided(request, served) != _decided(request, replace(expected, body=_payload(expected))):
                differences.append((request.shown(), expected, served))
    assert differences == []
    assert REQUESTS * 0.2 < passed < REQUESTS * 0.8


def _payload(sent: Sent) -> bytes:
    """Return the body without chunked framing."""
    if b"\r\ntransfer-encoding: chunked\r\n" not in sent.head.lower():
        return sent.body
    size, _, rest = sent.body.partition(b"\r\n")
    return rest[: int(size, 16)]
