"""Printing lists of any length, as JSON, CSV or a table, in constant memory: each page is printed as it is read."""

import csv
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from io import StringIO
from typing import Final, Generic, NamedTuple, TypeVar

import asyncpg
import click
from pydantic import BaseModel

from admin.api.csv_cells import plain_cell
from admin.api.response_models import Page
from sitelatch.commands.tables import Column, Table, printable
from sitelatch.failures import OutputClosed

Item = TypeVar("Item", bound=BaseModel)
Parts = AsyncIterator[tuple[Sequence[Item], bool]]
"""The items of a list in parts, each with whether it is the last one."""

PAGE_SIZE: Final = 100
"""How many items are read at a time if each may be large: an API user can have 10,000 sites."""
TABLE_PAGE_SIZE: Final = 500
"""How many rows of a table are read at a time."""


class Form(NamedTuple, Generic[Item]):
    """A form of a list: how its pages are printed, and how many items a page has."""

    echo: Callable[[Parts[Item]], Awaitable[None]]
    page_size: int


async def echo_list(
    connection: asyncpg.Connection,
    read: Callable[[str | None, int], Awaitable[Page[Item]]],
    form: Form[Item],
    *,
    limit: int | None = None,
) -> None:
    """Print the first `limit` items that a list has now, even if it changes in the meantime.

    `read` returns the page after a cursor, with at most the given number of items. Raises OutputClosed.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await form.echo(_parts(read, form.page_size, limit))


async def _parts(read: Callable[[str | None, int], Awaitable[Page[Item]]], size: int, limit: int | None) -> Parts[Item]:
    after: str | None = None
    while True:
        page = await read(after, size if limit is None else min(size, limit))
        if limit is not None:
            limit -= len(page.items)
        after = page.next if limit != 0 else None
        yield page.items, after is None
        if after is None:
            return


def json_form() -> Form[Item]:
    """Return a form that prints one JSON array."""

    async def echo(parts: Parts[Item]) -> None:
        before = "["
        async for items, _ in parts:
            if items:
                _echo(before + ", ".join(json.dumps(item.model_dump(mode="json")) for item in items))
                before = ", "
        _echo("[]\n" if before == "[" else "]\n")

    return Form(echo, PAGE_SIZE)


def csv_form(columns: Mapping[str, Callable[[Item], str]]) -> Form[Item]:
    """Return a form that prints CSV with these columns (RFC 4180) and Unix line endings.

    Values that begin like a formula are escaped, because admins and integrations choose the names.
    """
    shown = str if terminal_width() is None else printable

    async def echo(parts: Parts[Item]) -> None:
        _echo(_csv([list(columns)]))
        async for items, _ in parts:
            _echo(_csv([[plain_cell(shown(cell(item))) for cell in columns.values()] for item in items]))

    return Form(echo, PAGE_SIZE)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def table_form(columns: Sequence[Column[Item]]) -> Form[Item]:
    """Return a form that prints a table. It is fitted to the terminal, or complete for programs."""
    table = Table(columns, terminal_width())

    async def echo(parts: Parts[Item]) -> None:
        async for items, is_last in parts:
            _echo("".join(f"{line}\n" for line in table.lines(items, is_last=is_last)))

    return Form(echo, TABLE_PAGE_SIZE)


def terminal_width() -> int | None:
    """Return the number of columns if standard output is a terminal, otherwise None."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _echo(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        raise OutputClosed from None
