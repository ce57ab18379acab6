"""Reads lists of sites from CSV files. No I/O."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from admin.api.csv_table import Columns, Table, Unreadable
from admin.api.site_collation import collate_site
from admin.api.site_id_rules import check_site_id
from admin.problems import Invalid, Problem
from admin.text_rules import check_name, check_workspace
from sql.text_files import NotText, decode_spreadsheet, plain_text

_NO_WORKSPACE: Final = "The line names no workspace. Fill in the column, or choose a workspace for the file."


class ListedSite(NamedTuple):
    """A site in a file. Without a `display_name`, an existing site keeps its name, and a new one is named by its id."""

    line: int
    id: str
    workspace: str
    display_name: str | None
    collated: str


class LineFault(NamedTuple):
    """An error in a file, with its line unless it concerns the whole file, and the problem that it is in the API."""

    line: int | None
    detail: str
    problem: type[Problem] = Invalid

    def __str__(self) -> str:
        return self.detail if self.line is None else f"Line {self.line}: {self.detail}"


@dataclass(frozen=True, slots=True)
class SiteFile:
    """The content of a file: each site once, in the order of the lines, and all faults."""

    sites: tuple[ListedSite, ...]
    faults: tuple[LineFault, ...]
    ignored_columns: tuple[str, ...]
    encoding: str


def read_site_file(content: bytes | str, *, workspace: str | None = None, max_lines: int | None = None) -> SiteFile:
    """Read a CSV file. `workspace` applies to lines that do not name one."""
    reader = _Reader(workspace or "")
    try:
        reader.read(content, max_lines)
    except NotText as error:
        reader.faults.append(LineFault(None, f"{error}."))
    except Unreadable as error:
        reader.faults.append(LineFault(error.line, error.detail))
        if error.line is None:
            reader.sites.clear()
    if not reader.sites and not reader.faults:
        reader.faults.append(LineFault(None, "The file contains no sites, only headings."))
    return SiteFile(tuple(reader.sites.values()), tuple(reader.faults), reader.ignored_columns, reader.encoding)


class _Reader:
    """Collects the sites and faults of a file."""

    def __init__(self, workspace: str) -> None:
        self._default = workspace
        self._workspace_faults: dict[str, str | None] = {}
        self.sites: dict[str, ListedSite] = {}
        """The sites, keyed by collated id."""
        self.faults: list[LineFault] = []
        self.ignored_columns: tuple[str, ...] = ()
        self.encoding = "utf-8"

    def read(self, content: bytes | str, max_lines: int | None) -> None:
        """Read all lines. Raises NotText and Unreadable."""
        if isinstance(content, bytes):
            text, self.encoding = decode_spreadsheet(content)
        else:
            text = plain_text(content)
        table = Table(text)
        self.ignored_columns = table.columns.ignored
        for line, values in table.rows:
            if max_lines is not None and line > max_lines:
                detail = f"The file has more than {max_lines:,} lines. Split it, or use the command "
                raise Unreadable(None, f"{detail}`sitelatch sites import`.")
            self.faults += [LineFault(line, fault) for fault in self._read_row(line, values, table.columns)]

    def _read_row(self, line: int, values: Sequence[str], columns: Columns) -> list[str]:
        """Add the site of a row. Return everything that is wrong with it."""
        if fault := columns.fault(values):
            return [fault]
        site = columns.value(values, "site")
        workspace = columns.value(values, "workspace") or self._default
        # A cell of a spreadsheet can have several lines.
        name = re.sub(r"\s*\n\s*", " ", columns.value(values, "display_name")) or None
        faults = [fault for fault in (self._workspace_fault(workspace), _id_fault(site), _name_fault(name)) if fault]
        return faults or list(self._add(ListedSite(line, site, workspace, name, collate_site(site))))

    def _add(self, site: ListedSite) -> Iterator[str]:
        """Add a site, unless it contradicts an earlier line. Yields the faults."""
        before = self.sites.setdefault(site.collated, site)
        if before.id != site.id:
            yield f'Some data services treat "{site.id}" and "{before.id}" in line {before.line} as equal.'
        elif before.workspace != site.workspace:
            yield f'Line {before.line} says that "{site.id}" belongs to the workspace "{before.workspace}".'
        elif site.display_name and before.display_name and site.display_name != before.display_name:
            yield f'Line {before.line} calls "{site.id}" "{before.display_name}".'
        elif site.display_name:
            self.sites[site.collated] = before._replace(display_name=site.display_name)

    def _workspace_fault(self, name: str) -> str | None:
        if not name:
            return _NO_WORKSPACE
        if name not in self._workspace_faults:
            self._workspace_faults[name] = _bad_workspace(name)
        return self._workspace_faults[name]


def _bad_workspace(name: str) -> str | None:
    try:
        check_workspace(name, "workspace")
    except Invalid as problem:
        return problem.detail
    return None


def _id_fault(site: str) -> str | None:
    try:
        check_site_id(site, "site")
    except Invalid as problem:
        return problem.detail
    return None


def _name_fault(name: str | None) -> str | None:
    try:
        if name is not None:
            check_name(name, "display_name")
    except Invalid as problem:
        return problem.detail
    return None
