"""Sites from a CSV file."""

import asyncio
import csv
from collections.abc import Iterator
from itertools import chain
from typing import Final, TextIO

from admin.api.site_collation import collate_site
from admin.api.site_id_rules import check_site_id
from admin.api.sites import MAX_FAULTS, AddedSites, NewSite, add_sites, sentence
from admin.connections import Connection
from admin.identity.admins import Actor
from admin.problems import Fault, Invalid
from admin.text_rules import check_name, check_workspace
from proxy.decision.site_ids import fold_site

_AT_ONCE: Final = 1000
"""How many sites are added without a pause: about 20 ms, in which nothing else of this process goes on."""


def read_csv(file: TextIO, most_lines: int | None = None) -> dict[str, list[NewSite]]:
    """Return the sites of each workspace from a CSV file with the columns site, workspace and, if you like,
    display_name. Raises Invalid, whose faults' places begin with the line's number.
    """
    try:
        return _read(file, most_lines)
    except UnicodeDecodeError:
        # Which line it is nobody knows: the text is decoded in blocks.
        raise Invalid.at(1, detail="The file is not UTF-8 text. Save it as UTF-8.") from None


def _read(file: TextIO, most_lines: int | None) -> dict[str, list[NewSite]]:
    rows = _rows(file)
    _, columns = next(rows, (1, []))
    if sorted(columns) not in (["site", "workspace"], ["display_name", "site", "workspace"]):
        detail = 'The first line must be "site,workspace" or "site,workspace,display_name", with commas between.'
        raise Invalid.at(1, detail=detail)
    by_workspace: dict[str, dict[str, NewSite]] = {}
    faults: list[Fault] = []
    for line, values in rows:
        if most_lines is not None and line > most_lines:
            detail = f"The file has more than {most_lines:,} lines. Import it in parts, or with the command."
            raise Invalid.at(line, detail=detail)
        if not values:
            continue
        try:
            if len(values) != len(columns):
                raise Invalid.at("columns", detail="This line has another number of columns than the first one.")
            row = dict(zip(columns, values, strict=True))
            check_workspace(row["workspace"], "workspace")
            check_site_id(row["site"], "site")
            name = row.get("display_name") or None
            if name is not None:
                name = check_name(name, "display_name")
            sites = by_workspace.setdefault(row["workspace"], {})
            before = sites[row["site"]].display_name if row["site"] in sites else None
            if name is not None and before not in (None, name):
                raise Invalid.at("display_name", detail=f'On a line before, "{row["site"]}" is called "{before}".')
            sites[row["site"]] = NewSite(row["site"], name or before)
        except Invalid as problem:
            faults += [Fault((line, *fault.place), f"Line {line}: {fault.detail}") for fault in problem.faults]
    if faults:
        raise Invalid(sentence(faults), tuple(faults[:MAX_FAULTS]))
    return {workspace: list(sites.values()) for workspace, sites in by_workspace.items()}


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line on which it begins. Raises Invalid where a row is none."""
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise Invalid.at(line, detail=f"Line {line}: this is not CSV: {error}.") from None


async def import_sites(connection: Connection, by_workspace: dict[str, list[NewSite]], *, by: Actor) -> AddedSites:
    """Add what `read_csv` read, workspaces too where they are new: all of it, or nothing."""
    ordered = await asyncio.to_thread(_in_order, by_workspace)
    async with connection.transaction():
        added = [
            await add_sites(
                connection, workspace=workspace, sites=sites[start : start + _AT_ONCE], by=by, create_workspace=True
            )
            for workspace, sites in ordered.items()
            for start in range(0, len(sites), _AT_ONCE)
        ]
    return AddedSites(
        created=tuple(chain.from_iterable(one.created for one in added)),
        renamed=tuple(chain.from_iterable(one.renamed for one in added)),
        unchanged=tuple(chain.from_iterable(one.unchanged for one in added)),
    )


def _in_order(by_workspace: dict[str, list[NewSite]]) -> dict[str, list[NewSite]]:
    """Return the sites in one order for all who add some, so that no two wait for each other."""
    return {name: sorted(sites, key=_place) for name, sites in sorted(by_workspace.items())}


def _place(site: NewSite) -> tuple[str, str]:
    """Return where the site stands in the order of create_sites."""
    return collate_site(site.id), fold_site(site.id)
