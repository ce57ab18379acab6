"""Printing lists of any length, as JSON or as a table, in constant memory: each page is printed as it is read."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg
import click
from pydantic import BaseModel

from admin.api.response_models import Page

Item = TypeVar("Item", bound=BaseModel)

PAGE_SIZE = 100
"""How many items are read at a time. An API user can have 10,000 sites."""


class OutputClosed(Exception):  # noqa: N818 - names what happened
    """The program that reads the output has closed the pipe, because it needs no more, as `head` does."""


async def echo_list(
    connection: asyncpg.Connection,
    read: Callable[[str | None], Awaitable[Page[Item]]],
    *,
    as_json: bool,
    titles: tuple[str, ...],
    row: Callable[[Item], tuple[str, ...]],
) -> None:
    """Print all items that a list has now, even if it changes in the meantime.

    `read` returns the page after a given cursor. Raises OutputClosed.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        if as_json:
            await _echo_json(_pages(read))
        else:
            await _echo_table(_pages(read), titles, row)


async def _pages(read: Callable[[str | None], Awaitable[Page[Item]]]) -> AsyncIterator[Sequence[Item]]:
    after: str | None = None
    while True:
        page = await read(after)
        yield page.items
        if page.next is None:
            return
        after = page.next


async def _echo_json(pages: AsyncIterator[Sequence[Item]]) -> None:
    """Print one JSON array."""
    before = "["
    async for items in pages:
        if items:
            _echo(before + ", ".join(json.dumps(item.model_dump(mode="json")) for item in items))
            before = ", "
    _echo("[]\n" if before == "[" else "]\n")


async def _echo_table(
    pages: AsyncIterator[Sequence[Item]], titles: tuple[str, ...], row: Callable[[Item], tuple[str, ...]]
) -> None:
    """Print a table. The first page determines the widths of its columns."""
    widths: list[int] = []
    async for items in pages:
        rows = [row(item) for item in items]
        if not widths:
            rows.insert(0, titles)
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows)
        _echo("".join(f"{line.rstrip()}\n" for line in lines))


def _echo(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        raise OutputClosed from None
