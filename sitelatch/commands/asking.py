"""How a verb asks the database, and how it prints what it was told."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import asyncpg
import click
import uvloop
from pydantic import BaseModel

from admin.api.response_models import Page
from sitelatch.config import Config
from sitelatch.database import connection_to

Result = TypeVar("Result")
PAGE = 500


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end, and return what it does."""
    return uvloop.run(work)


def ask(config: Config, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
    """Run `work` with a connection of the admin's role."""

    async def with_connection() -> Result:
        async with connection_to(config.admin_database, config.directory) as connection:
            return await work(connection)

    return run(with_connection())


async def every(read: Callable[[str | None], Awaitable[Page[Result]]]) -> AsyncIterator[Result]:
    """Walk a list from its first page to its last."""
    after: str | None = None
    while True:
        page = await read(after)
        for item in page.items:
            yield item
        if page.next is None:
            return
        after = page.next


def echo_json(items: Sequence[BaseModel]) -> None:
    """Print one JSON array."""
    click.echo(json.dumps([item.model_dump(mode="json") for item in items]))


def echo_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print columns, each as wide as what it holds."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in [titles, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
