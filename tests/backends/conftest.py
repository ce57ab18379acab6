"""Fixtures of the backends' tests."""

from collections.abc import Iterator

import pytest

from tests.database import TEMPLATE, create_database, drop_database, run_aside


@pytest.fixture(scope="module")
def database_url(database_server: str) -> Iterator[str]:
    """A migrated, empty database of the module's own."""
    url = run_aside(create_database(database_server, TEMPLATE))
    yield url
    run_aside(drop_database(database_server, url))
