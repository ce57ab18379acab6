"""Open exchanges for each test of revocation."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.relay.open_exchanges import Streams


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    """Open exchanges over a scope table in memory."""
    streams = Streams()
    yield streams
    await streams.close()
