"""Import of sites from a CSV file."""

import asyncio
import csv
from collections.abc import Iterator
from io import StringIO
from itertools import chain
from typing import Final

from admin.api.site_collation import collate_site
from admin.api.site_creation import AddedSites, NewSite, add_sites
from admin.api.site_id_rules import check_site_id
from admin.api.workspaces import known_workspaces, not_found, unknown_workspaces
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit
from admin.problems import Fault, Invalid
from admin.text_rules import check_name, check_workspace
from proxy.decision.site_ids import fold_site
from sql.text_files import NotText, plain_text

_BATCH: Final = 1000
"""How many sites are added at a time. Each batch blocks the event loop for about 20 ms."""


_FIRST_LINE: Final = 'The first line must be "site,workspace" or "site,workspace,display_name", separated by commas.'
_HEADINGS: Final = ("site", "workspace", "display_name")
_WHY_NOT_CSV: Final = {
    "unexpected end of data": "a value begins with a quote that is never closed. Close it, or remove it",
    "',' expected after '\"'": 'text follows a closing quote. Write "" for a quote inside a quoted value',
}
"""Clearer texts for the errors of Python's csv module."""


def read_csv(text: str, max_lines: int | None = None) -> dict[str, list[NewSite]]:
    """Return the sites of each workspace in a CSV file with the columns site, workspace and, optionally, display_name.

    It ignores empty lines, and empty columns without a heading, because spreadsheets write them. Raises Invalid. The
    places of its faults begin with the line number.
    """
    rows = _rows(text)
    line, headings = next(rows, (1, []))
    columns = _Columns(headings, line)
    by_workspace: dict[str, dict[str, NewSite]] = {}
    faults: list[Fault] = []
    for line, values in rows:
        if max_lines is not None and line > max_lines:
            detail = (
                f"The file has more than {max_lines:,} lines. Split it, or use the command `sitelatch sites import`."
            )
            raise Invalid.at(line, detail=detail)
        try:
            row = columns.named(values)
            check_workspace(row["workspace"], "workspace")
            check_site_id(row["site"], "site")
            name = row.get("display_name") or None
            if name is not None:
                name = check_name(name, "display_name")
            sites = by_workspace.setdefault(row["workspace"], {})
            first = sites.get(row["site"]) or NewSite(row["site"], line=line)
            if name is not None and first.display_name not in (None, name):
                detail = f'An earlier line calls "{row["site"]}" "{first.display_name}".'
                raise Invalid.at("display_name", detail=detail)
            sites[row["site"]] = NewSite(row["site"], name or first.display_name, first.line)
        except Invalid as problem:
            faults += [Fault((line, *fault.place), f"Line {line}: {fault.detail}") for fault in problem.faults]
    if faults:
        raise Invalid.of(faults)
    return {workspace: list(sites.values()) for workspace, sites in by_workspace.items()}


class _Columns:
    """The columns of a CSV file, from the headings in its first line."""

    def __init__(self, headings: list[str], line: int) -> None:
        """Raises Invalid at `line` if a heading is unknown, missing or repeated."""
        names = [heading.strip().casefold().replace(" ", "_") for heading in headings]
        for number, name in enumerate(names, 1):
            if name and name not in _HEADINGS:
                raise _bad_first_line(line, f"The heading of column {number} is unknown.")
            if name and name in names[: number - 1]:
                raise _bad_first_line(line, f'The heading "{name}" occurs twice.')
        missing = [name for name in ("site", "workspace") if name not in names]
        if missing:
            raise _bad_first_line(line, f'The heading "{missing[0]}" is missing.')
        self._positions = {name: at for at, name in enumerate(names) if name}
        self._unnamed = [at for at, name in enumerate(names) if not name]
        self._least = 1 + max(self._positions.values())

    def named(self, values: list[str]) -> dict[str, str]:
        """Return the values, keyed by heading. Raises Invalid unless each value has a heading, and vice versa."""
        width = len(self._positions) + len(self._unnamed)
        if len(values) < self._least or any(value.strip() for value in values[width:]):
            raise Invalid.at("columns", detail="The number of columns differs from the first line.")
        for at in self._unnamed:
            if at < len(values) and values[at].strip():
                raise Invalid.at("columns", detail=f"Column {at + 1} has a value, but no heading in the first line.")
        return {name: values[at] for name, at in self._positions.items()}


def _bad_first_line(line: int, fault: str) -> Invalid:
    return Invalid.at(line, detail=f"Line {line}: {fault} {_FIRST_LINE}")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with the number of its first line. Raises Invalid unless the text is CSV."""
    try:
        text = plain_text(text)
    except NotText as error:
        raise Invalid.at(1, detail=f"{error}.") from None
    if not text.strip(" \n,"):
        raise Invalid.at(1, detail=f"The file is empty. {_FIRST_LINE}")
    first, _, _ = text.lstrip("\n").partition("\n")
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in first and "," not in first:
            raise Invalid.at(1, detail=f"The columns are separated by {name}. {_FIRST_LINE}")
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            if any(value and not value.isspace() for value in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        why = _WHY_NOT_CSV.get(str(error), error)
        raise Invalid.at(line, detail=f"Line {line} is not valid CSV: {why}.") from None


class UnknownWorkspace(Invalid):
    """The file names workspaces that do not exist, and the import may not create them."""


async def import_sites(
    connection: Connection,
    by_workspace: dict[str, list[NewSite]],
    *,
    by: Actor,
    create_workspaces: bool = False,
) -> AddedSites:
    """Add the sites that `read_csv` returned, and with `create_workspaces` also missing workspaces: all or none.

    Raises UnknownWorkspace, and the problems of `add_sites`.
    """
    ordered = await asyncio.to_thread(_sorted, by_workspace)
    async with connection.transaction():
        if not create_workspaces:
            await _check_workspaces(connection, by_workspace, by.within)
        added = [
            await add_sites(
                connection,
                workspace=workspace,
                sites=sites[start : start + _BATCH],
                by=by,
                create_workspace=create_workspaces,
            )
            for workspace, sites in ordered.items()
            for start in range(0, len(sites), _BATCH)
        ]
    return AddedSites(
        created=tuple(chain.from_iterable(one.created for one in added)),
        renamed=tuple(chain.from_iterable(one.renamed for one in added)),
        unchanged=tuple(chain.from_iterable(one.unchanged for one in added)),
    )


async def _check_workspaces(
    connection: Connection, by_workspace: dict[str, list[NewSite]], within: WorkspaceLimit
) -> None:
    """Raise UnknownWorkspace unless all workspaces exist. Each fault names the first line with the workspace."""
    faults = []
    for name in await unknown_workspaces(connection, by_workspace, within):
        line = min((site.line for site in by_workspace[name] if site.line is not None), default=1)
        faults.append(Fault((line, "workspace"), f"Line {line}: {not_found(name)}"))
    if faults:
        problem = UnknownWorkspace.of(sorted(faults, key=lambda fault: fault.place))
        known = await known_workspaces(connection, within)
        raise UnknownWorkspace(f"{problem.detail}\n{known}".rstrip(), problem.faults)


def _sorted(by_workspace: dict[str, list[NewSite]]) -> dict[str, list[NewSite]]:
    """Sort workspaces and sites, so that concurrent imports take their locks in the same order and cannot deadlock."""
    return {name: sorted(sites, key=_sort_key) for name, sites in sorted(by_workspace.items())}


def _sort_key(site: NewSite) -> tuple[str, str]:
    """Return the key by which the query create_sites sorts."""
    return collate_site(site.id), fold_site(site.id)
