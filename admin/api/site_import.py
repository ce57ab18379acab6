"""Import of sites from a CSV file."""

import asyncio
import csv
from collections.abc import Iterator
from itertools import chain
from typing import Final, TextIO

from admin.api.site_collation import collate_site
from admin.api.site_creation import AddedSites, NewSite, add_sites
from admin.api.site_id_rules import check_site_id
from admin.connections import Connection
from admin.identity.admins import Actor
from admin.problems import Fault, Invalid
from admin.text_rules import check_name, check_workspace
from proxy.decision.site_ids import fold_site

_BATCH: Final = 1000
"""How many sites are added at a time. Each batch blocks the event loop for about 20 ms."""


def read_csv(file: TextIO, max_lines: int | None = None) -> dict[str, list[NewSite]]:
    """Return the sites of each workspace in a CSV file with the columns site, workspace and, optionally, display_name.

    Raises Invalid. The places of its faults begin with the line number.
    """
    try:
        return _read(file, max_lines)
    except UnicodeDecodeError:
        # The line is unknown, because the text is decoded in blocks.
        raise Invalid.at(1, detail="The file is not UTF-8 text. Save it as UTF-8.") from None


def _read(file: TextIO, max_lines: int | None) -> dict[str, list[NewSite]]:
    rows = _rows(file)
    _, columns = next(rows, (1, []))
    if sorted(columns) not in (["site", "workspace"], ["display_name", "site", "workspace"]):
        detail = 'The first line must be "site,workspace" or "site,workspace,display_name", separated by commas.'
        raise Invalid.at(1, detail=detail)
    by_workspace: dict[str, dict[str, NewSite]] = {}
    faults: list[Fault] = []
    for line, values in rows:
        if max_lines is not None and line > max_lines:
            detail = (
                f"The file has more than {max_lines:,} lines. Split it, or use the command `sitelatch sites import`."
            )
            raise Invalid.at(line, detail=detail)
        if not values:
            continue
        try:
            if len(values) != len(columns):
                raise Invalid.at("columns", detail="The number of columns differs from the first line.")
            row = dict(zip(columns, values, strict=True))
            check_workspace(row["workspace"], "workspace")
            check_site_id(row["site"], "site")
            name = row.get("display_name") or None
            if name is not None:
                name = check_name(name, "display_name")
            sites = by_workspace.setdefault(row["workspace"], {})
            before = sites[row["site"]].display_name if row["site"] in sites else None
            if name is not None and before not in (None, name):
                raise Invalid.at("display_name", detail=f'An earlier line calls "{row["site"]}" "{before}".')
            sites[row["site"]] = NewSite(row["site"], name or before)
        except Invalid as problem:
            faults += [Fault((line, *fault.place), f"Line {line}: {fault.detail}") for fault in problem.faults]
    if faults:
        raise Invalid.of(faults)
    return {workspace: list(sites.values()) for workspace, sites in by_workspace.items()}


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its first line. Raises Invalid if a row is not valid CSV."""
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise Invalid.at(line, detail=f"Line {line} is not valid CSV: {error}.") from None


async def import_sites(connection: Connection, by_workspace: dict[str, list[NewSite]], *, by: Actor) -> AddedSites:
    """Add the sites that `read_csv` returned, and missing workspaces: all or none."""
    ordered = await asyncio.to_thread(_sorted, by_workspace)
    async with connection.transaction():
        added = [
            await add_sites(
                connection, workspace=workspace, sites=sites[start : start + _BATCH], by=by, create_workspace=True
            )
            for workspace, sites in ordered.items()
            for start in range(0, len(sites), _BATCH)
        ]
    return AddedSites(
        created=tuple(chain.from_iterable(one.created for one in added)),
        renamed=tuple(chain.from_iterable(one.renamed for one in added)),
        unchanged=tuple(chain.from_iterable(one.unchanged for one in added)),
    )


def _sorted(by_workspace: dict[str, list[NewSite]]) -> dict[str, list[NewSite]]:
    """Sort workspaces and sites, so that concurrent imports take their locks in the same order and cannot deadlock."""
    return {name: sorted(sites, key=_sort_key) for name, sites in sorted(by_workspace.items())}


def _sort_key(site: NewSite) -> tuple[str, str]:
    """Return the sort key of the query create_sites."""
    return collate_site(site.id), fold_site(site.id)
