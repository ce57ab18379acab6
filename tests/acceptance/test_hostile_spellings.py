"""Every hostile spelling of another site, sent as raw bytes with a key for one site, for each kind of site rule."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance.harness import Bench, Lanes, serving
from tests.acceptance.wire import Answering, Message, Upstream, connect, listening_socket, port_of
from tests.spellings import Expected, Shape, Spelling, honest, spellings

OWN, OTHER = "shop", "blog"


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with listening_socket() as sock:
        yield sock


@pytest.fixture(scope="module", params=Shape, ids=lambda shape: shape.name)
def shape(request: pytest.FixtureRequest) -> Shape:
    """The kind of site rule. Each has its own process, because the targets of spellings start at the root."""
    shape: Shape = request.param
    return shape


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, listener: socket.socket, shape: Shape
) -> Iterator[Bench]:
    route = {"name": "data", "upstream": f"http://127.0.0.1:{port_of(listener)}", "sites": list(shape.value)}
    folder = tmp_path_factory.mktemp("spellings")
    with serving(folder, database_url, Lanes(0), routes=[route], log={"access": "off"}) as bench:
        yield bench


@pytest.fixture
async def seen(listener: socket.socket) -> AsyncIterator[list[Message]]:
    """The requests that the upstream received."""
    answering = Answering()
    async with Upstream(listener, answering):
        yield answering.requests


async def send(bench: Bench, spelling: Spelling) -> Message:
    async with connect(bench.latch.address) as client:
        await client.send(spelling.raw((b"X-API-Key", bench.keys.shop.key.encode())))
        return await client.answer(spelling.method.decode())


def kept_fields(spelling: Spelling, seen: Message, usual: Message) -> set[tuple[bytes, bytes]]:
    """Return the hostile fields that were forwarded, without the fields that Sitelatch adds to every request."""
    tricks = {(name.lower(), value) for name, value in spelling.fields if name.lower() in spelling.drops}
    return set(lower_names(seen)) & tricks - set(lower_names(usual))


def lower_names(message: Message) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in message.fields]


async def test_an_ordinary_request_passes_only_for_the_site_of_the_key(
    bench: Bench, seen: list[Message], shape: Shape
) -> None:
    assert (await send(bench, honest(OWN, shape))).status == 200
    assert (await send(bench, honest(OTHER, shape))).status == 403
    assert len(seen) == 1


async def test_no_hostile_spelling_reaches_another_site(bench: Bench, seen: list[Message], shape: Shape) -> None:
    assert (await send(bench, honest(OWN, shape))).status == 200
    usual = seen[-1]
    wrong: list[tuple[str, str, object]] = []
    for spelling in spellings(OWN, OTHER, shape):
        before = len(seen)
        answer = await send(bench, spelling)
        passed = len(seen) > before
        if passed != (answer.status == 200):
            wrong.append((spelling.name, "passed but refused", answer.start))
        elif passed and spelling.expected is Expected.REFUSED:
            wrong.append((spelling.name, "passed", spelling.raw()))
        elif passed and seen[-1].target != spelling.forwarded:
            wrong.append((spelling.name, "changed", seen[-1].target))
        elif passed and (kept := kept_fields(spelling, seen[-1], usual)):
            wrong.append((spelling.name, "kept", kept))
    assert wrong == []
