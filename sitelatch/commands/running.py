"""Running the work of a subcommand, usually with a database connection."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import uvloop

from sitelatch.config import Config
from sitelatch.database import connection_to

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to completion and return its result."""
    return uvloop.run(work)


def run_with_database(config: Config, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
    """Run `work` with a database connection as the admin role, and return its result."""

    async def with_connection() -> Result:
        async with connection_to(config.admin_database, config.directory) as connection:
            return await work(connection)

    return run(with_connection())
