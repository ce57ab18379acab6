"""Every hostile spelling of the other site, sent as raw bytes with a one-site key, for every shape of site rules."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance.harness import Bench, Lanes, serving
from tests.acceptance.wire import Answering, Message, Upstream, connect, listening_socket, port_of
from tests.spellings import Expected, Shape, Spelling, honest, spellings

OWN, OTHER = "shop", "blog"


@pytest.fixture(scope="module")
def service() -> Iterator[socket.socket]:
    with listening_socket() as sock:
        yield sock


@pytest.fixture(scope="module", params=Shape, ids=lambda shape: shape.name)
def shape(request: pytest.FixtureRequest) -> Shape:
    """The shape that the process of this turn has: a spelling's target begins at the root, so each has its own."""
    shape: Shape = request.param
    return shape


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, service: socket.socket, shape: Shape
) -> Iterator[Bench]:
    route = {"name": "data", "upstream": f"http://127.0.0.1:{port_of(service)}", "sites": list(shape.value)}
    folder = tmp_path_factory.mktemp("spellings")
    with serving(folder, database_url, Lanes(0), routes=[route], log={"access": "off"}) as bench:
        yield bench


@pytest.fixture
async def seen(service: socket.socket) -> AsyncIterator[list[Message]]:
    """What the data service got."""
    answering = Answering()
    async with Upstream(service, answering):
        yield answering.requests


async def ask(bench: Bench, spelling: Spelling) -> Message:
    async with connect(bench.latch.address) as client:
        await client.send(spelling.raw((b"X-API-Key", bench.keys.shop.key.encode())))
        return await client.answer(spelling.method.decode())


def kept_fields(spelling: Spelling, seen: Message, usual: Message) -> set[tuple[bytes, bytes]]:
    """The fields that are the trick and were sent on, less what the door itself says on every request."""
    tricks = {(name.lower(), value) for name, value in spelling.fields if name.lower() in spelling.drops}
    return set(lower_names(seen)) & tricks - set(lower_names(usual))


def lower_names(message: Message) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in message.fields]


async def test_the_honest_request_passes_for_the_own_site_alone(
    bench: Bench, seen: list[Message], shape: Shape
) -> None:
    assert (await ask(bench, honest(OWN, shape))).status == 200
    assert (await ask(bench, honest(OTHER, shape))).status == 403
    assert len(seen) == 1


async def test_no_spelling_takes_the_key_to_the_other_site(bench: Bench, seen: list[Message], shape: Shape) -> None:
    assert (await ask(bench, honest(OWN, shape))).status == 200
    usual = seen[-1]
    wrong: list[tuple[str, str, object]] = []
    for spelling in spellings(OWN, OTHER, shape):
        before = len(seen)
        answer = await ask(bench, spelling)
        passed = len(seen) > before
        if passed != (answer.status == 200):
            wrong.append((spelling.name, "passed but refused", answer.start))
        elif passed and spelling.expected is Expected.REFUSED:
            wrong.append((spelling.name, "passed", spelling.raw()))
        elif passed and seen[-1].target != spelling.target:
            wrong.append((spelling.name, "changed", seen[-1].target))
        elif passed and (kept := kept_fields(spelling, seen[-1], usual)):
            wrong.append((spelling.name, "kept", kept))
    assert wrong == []
