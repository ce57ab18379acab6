"""Running the work of a subcommand, usually with a database connection."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import uvloop

from admin.api.response_models import Page
from sitelatch.config import Config
from sitelatch.database import connection_to

Result = TypeVar("Result")
PAGE_SIZE = 500


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to completion and return its result."""
    return uvloop.run(work)


def run_with_database(config: Config, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
    """Run `work` with a database connection as the admin role, and return its result."""

    async def with_connection() -> Result:
        async with connection_to(config.admin_database, config.directory) as connection:
            return await work(connection)

    return run(with_connection())


async def all_items(read: Callable[[str | None], Awaitable[Page[Result]]]) -> AsyncIterator[Result]:
    """Yield the items of all pages of a list. `read` returns the page after a given cursor."""
    after: str | None = None
    while True:
        page = await read(after)
        for item in page.items:
            yield item
        if page.next is None:
            return
        after = page.next
