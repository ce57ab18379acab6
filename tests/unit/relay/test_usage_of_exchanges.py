"""The bytes of responses, counted as usage of API users."""

import asyncio

import pytest

from tests.unit.relay.test_plain_exchanges import PLAIN, World, get, reply

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def sent(world: World, request: bytes, *responses: bytes) -> list[tuple[str, int, int]]:
    """Return the usage of Ada after one exchange."""
    world.client.receive(request)
    for response in responses:
        world.upstreams[-1].receive(response)
    return world.usage.get("ada", [])


@pytest.mark.parametrize("plainly", [True, False], ids=["plain", "full"])
def test_the_bytes_of_the_body_count_as_in_the_access_log(plainly: bool) -> None:
    async def scenario() -> None:
        world = World(plainly=plainly)
        await world.open()
        assert await sent(world, PLAIN, reply(body=b"x" * 700)) == [("passed", 1, 700)]
        assert await sent(world, PLAIN, CHUNKED, b"5\r\nhello\r\n0\r\n\r\n") == [("passed", 2, 705)]
        assert await sent(world, get(b"/sites/shop/x", method=b"HEAD"), reply(body=b"")) == [("passed", 3, 705)]
        await world.close()

    asyncio.run(scenario())


def test_a_long_response_counts_while_it_is_open_and_once() -> None:
    async def scenario() -> None:
        world = World(plainly=True)
        await world.open()
        assert await sent(world, PLAIN, CHUNKED + b"5\r\nhello\r\n") == [("passed", 1, 0)]
        world.sweep()
        assert world.usage["ada"] == [("passed", 1, 5)]
        taken = world.door.services.enforcement.usage.take()  # as a flush does
        world.upstreams[-1].receive(b"3\r\nall\r\n")
        world.client.lose(None)
        assert taken["ada"].counts() == [("passed", 1, 5)]
        assert world.usage["ada"] == [("passed", 0, 3)]
        await world.close()

    asyncio.run(scenario())


def test_a_refused_request_counts_without_its_bytes() -> None:
    async def scenario() -> None:
        world = World(plainly=True)
        await world.open()
        assert await sent(world, get(b"/sites/blog/x")) == [("site_not_allowed", 1, 0)]
        await world.close()

    asyncio.run(scenario())
