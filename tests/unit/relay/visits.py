"""A visit: a client connection and its upstream connections without sockets, and a key for the site `shop`."""

from collections.abc import AsyncIterator

import pytest

from bench.driver import Driver, Setup, Visit
from proxy.decision.api_keys import new_key

KEY = new_key()
ROUTES = [{"name": "data", "upstream": "http://127.0.0.1:9000", "sites": ["path:/api/sites/{site}/**"]}]
KEYLESS = b"GET /api/sites/shop/x HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    driver = Driver(Setup({"routes": ROUTES}, known={KEY: {"sites": ["shop"]}}, sites={"shop": "acme"}))
    await driver.start()
    visit = driver.connect()
    yield visit
    visit.downstream.connection_lost(None)
    await driver.close()
