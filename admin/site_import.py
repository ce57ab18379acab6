"""Sites from a CSV file."""

import csv
from typing import TextIO

from admin.connections import Connection
from admin.people import Actor
from admin.problems import Fault, Invalid
from admin.site_ids import check_site_id
from admin.sites import MAX_FAULTS, Added, NewSite, add_sites, sentence
from admin.texts import check_name, check_workspace


def read_csv(file: TextIO) -> dict[str, list[NewSite]]:
    """Return the sites of each workspace from a CSV file with the columns site, workspace and, if you like,
    display_name. Raises Invalid, whose faults' places begin with the line's number.
    """
    try:
        return _read(file)
    except UnicodeDecodeError:
        # Which line it is nobody knows: the text is decoded in blocks.
        raise Invalid.at(1, detail="The file is not UTF-8 text. Save it as UTF-8.") from None


def _read(file: TextIO) -> dict[str, list[NewSite]]:
    reader = csv.DictReader(file, strict=True)
    columns = sorted(reader.fieldnames or ())
    if columns not in (["site", "workspace"], ["display_name", "site", "workspace"]):
        detail = 'The first line must be "site,workspace" or "site,workspace,display_name", with commas between.'
        raise Invalid.at(1, detail=detail)
    by_workspace: dict[str, list[NewSite]] = {}
    faults: list[Fault] = []
    try:
        for row in reader:
            line = reader.line_num
            try:
                if None in row or None in row.values():
                    raise Invalid.at("columns", detail="This line has another number of columns than the first one.")
                check_workspace(row["workspace"], "workspace")
                check_site_id(row["site"], "site")
                name = row.get("display_name") or None
                if name is not None:
                    name = check_name(name, "display_name")
            except Invalid as problem:
                faults += [Fault((line, *fault.place), f"Line {line}: {fault.detail}") for fault in problem.faults]
            else:
                by_workspace.setdefault(row["workspace"], []).append(NewSite(row["site"], name))
    except csv.Error as error:
        raise Invalid.at(reader.line_num, detail=f"Line {reader.line_num}: this is not CSV: {error}.") from None
    if faults:
        raise Invalid(sentence(faults), tuple(faults[:MAX_FAULTS]))
    return by_workspace


async def import_sites(connection: Connection, by_workspace: dict[str, list[NewSite]], *, by: Actor) -> Added:
    """Add what `read_csv` read, workspaces too where they are new: all of it, or nothing."""
    async with connection.transaction():
        added = [
            await add_sites(
                connection,
                workspace=workspace,
                sites=sites,
                by=by,
                create_workspace=True,
            )
            for workspace, sites in sorted(by_workspace.items())
        ]
    return Added(
        created=tuple(site for one in added for site in one.created),
        renamed=tuple(site for one in added for site in one.renamed),
        unchanged=tuple(site for one in added for site in one.unchanged),
    )
