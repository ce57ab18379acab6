"""Printing results as JSON or as a table."""

import json
from collections.abc import Sequence

import click
from pydantic import BaseModel


def echo_json(items: Sequence[BaseModel]) -> None:
    """Print the items as one JSON array."""
    click.echo(json.dumps([item.model_dump(mode="json") for item in items]))


def echo_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table whose columns are as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in [titles, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
