"""Reads lists of existing keys from CSV files and JSON lines. No I/O."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from admin.api.csv_table import DELIMITERS, Unreadable, heading, read_rows
from admin.api.existing_keys import digest_hint, digest_of, key_fault, key_hint, read_sha256
from admin.api.site_file import LineFault
from admin.api.user_creation import MAX_SITES
from admin.problems import Invalid
from admin.text_rules import check_name, check_workspace, is_text
from sql.text_files import NotText, decode_spreadsheet

FIELDS: Final = ("key", "sha256", "workspace", "sites", "all_sites", "name", "expires_at")
_LISTED: Final = ", ".join(FIELDS)
_YES_NO: Final[Mapping[str, bool]] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class ListedKey(NamedTuple):
    """A key in a file, and what its API user may access. `key` is None if the file has only its digest."""

    line: int
    digest: bytes
    key: str | None
    hint: str
    workspace: str
    all_sites: bool
    sites: tuple[str, ...]
    name: str | None
    expires_at: datetime | None

    def __repr__(self) -> str:
        return f"ListedKey(line={self.line}, hint={self.hint!r})"

    @property
    def scope(self) -> tuple[object, ...]:
        """The fields that determine what the key may access."""
        return self.workspace, self.all_sites, self.sites, self.expires_at


class Defaults(NamedTuple):
    """The scope of lines that state none."""

    workspace: str | None = None
    all_sites: bool = False
    sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The content of a file: each key once, in the order of the lines, and all faults."""

    keys: tuple[ListedKey, ...]
    faults: tuple[LineFault, ...]


def read_key_file(content: bytes, defaults: Defaults, *, allow_weak: bool = False) -> KeyFile:
    """Read a file. It is JSON lines if it begins with `{`, and otherwise CSV with headings."""
    reader = _Reader(defaults, allow_weak=allow_weak)
    try:
        text, _ = decode_spreadsheet(content)
        for line, values in _json_lines(text) if text.lstrip().startswith("{") else _csv_lines(text):
            reader.add(line, values)
    except NotText as error:
        reader.faults.append(LineFault(None, f"{error}."))
    except Unreadable as error:
        reader.faults.append(LineFault(error.line, error.detail))
    if not reader.keys and not reader.faults:
        reader.faults.append(LineFault(None, "The file contains no keys."))
    return KeyFile(tuple(reader.keys.values()), tuple(reader.faults))


Values = Mapping[str, Any] | str
"""The values of a line, or an error message if it cannot be read."""


def _csv_lines(text: str) -> Iterator[tuple[int, Values]]:
    """Yield the values of each row. Raises Unreadable."""
    if not text.strip():
        return
    first = {each: _headings(text, each) for each in DELIMITERS}
    delimiter = max(first, key=lambda each: len(set(first[each]) & set(FIELDS)))
    names = first[delimiter]
    if unknown := [name for name in names if name not in FIELDS]:
        # An unknown column may be a misspelled one, such as `expires`, and the key would then never expire.
        raise Unreadable(1, f'The heading "{unknown[0]}" is unknown. The headings are {_LISTED}.')
    if len(set(names)) < len(names):
        raise Unreadable(1, "A heading occurs twice.")
    if not {"key", "sha256"} & set(names):
        raise Unreadable(1, f"The first line must have the heading `key` or `sha256`. The headings are {_LISTED}.")
    rows = read_rows(text, delimiter)
    next(rows)
    for line, values in rows:
        if len(values) > len(names) and any(value.strip() for value in values[len(names) :]):
            yield line, "The line has more columns than the first line."
            continue
        found: dict[str, Any] = {
            name: value.strip() for name, value in zip(names, values, strict=False) if value.strip()
        }
        if "sites" in found:
            found["sites"] = [site.strip() for site in found["sites"].split(";") if site.strip()]
        if "all_sites" in found:
            found["all_sites"] = _YES_NO.get(found["all_sites"].casefold(), found["all_sites"])
        yield line, found


def _headings(text: str, delimiter: str) -> list[str]:
    try:
        return [heading(value) for value in next(read_rows(text, delimiter)).values]
    except (Unreadable, StopIteration):
        return []


def _json_lines(text: str) -> Iterator[tuple[int, Values]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError):
            yield number, "The line is not a JSON object without duplicate names."
            continue
        if not isinstance(values, dict):
            yield number, "The line is not a JSON object."
        elif unknown := [name for name in values if name not in FIELDS]:
            yield number, f'"{unknown[0][:50]}" is unknown. The names are {_LISTED}.'
        else:
            yield number, {name: value for name, value in values.items() if value is not None}


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError
    return read


class _Reader:
    """Collects the keys and faults of a file."""

    def __init__(self, defaults: Defaults, *, allow_weak: bool) -> None:
        self._defaults = defaults
        self._allow_weak = allow_weak
        self.keys: dict[bytes, ListedKey] = {}
        self.faults: list[LineFault] = []

    def add(self, line: int, values: Values) -> None:
        """Add the key of a line, or its faults."""
        if isinstance(values, str):
            self.faults.append(LineFault(line, values))
            return
        try:
            listed = self._listed(line, values)
        except Invalid as problem:
            self.faults.append(LineFault(line, problem.detail))
            return
        before = self.keys.setdefault(listed.digest, listed)
        if before.scope != listed.scope or before.name != listed.name:
            detail = f"The key in line {before.line} is the same, but its API user is not. One key has one API user."
            self.faults.append(LineFault(line, detail))

    def _listed(self, line: int, values: Mapping[str, Any]) -> ListedKey:
        """Return the key of a line. Raises Invalid."""
        digest, key, hint = self._key(values)
        workspace = values.get("workspace", self._defaults.workspace)
        if not isinstance(workspace, str) or not workspace:
            raise Invalid("The line names no workspace. Fill in the column, or add --workspace.")
        check_workspace(workspace, "workspace")
        all_sites, sites = self._scope(values)
        name = values.get("name")
        if name is not None:
            if not isinstance(name, str):
                raise Invalid("`name` must be text.")
            name = check_name(name, "name")
        return ListedKey(line, digest, key, hint, workspace, all_sites, sites, name, _time(values.get("expires_at")))

    def _key(self, values: Mapping[str, Any]) -> tuple[bytes, str | None, str]:
        key, sha256 = values.get("key"), values.get("sha256")
        if (key is None) == (sha256 is None):
            raise Invalid("The line must have either `key` or `sha256`.")
        if isinstance(key, str):
            if fault := key_fault(key, allow_weak=self._allow_weak):
                raise Invalid(fault)
            return digest_of(key), key, key_hint(key)
        if not isinstance(sha256, str):
            raise Invalid("`key` and `sha256` must be text.")
        try:
            digest = read_sha256(sha256)
        except ValueError as error:
            raise Invalid(str(error)) from None
        return digest, None, digest_hint(digest)

    def _scope(self, values: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
        """Return whether a line is for all sites, and otherwise its sites. Raises Invalid."""
        all_sites, sites = values.get("all_sites", False), values.get("sites")
        if not isinstance(all_sites, bool):
            raise Invalid("`all_sites` must be true or false.")
        if sites is not None and not (isinstance(sites, list) and all(isinstance(site, str) for site in sites)):
            raise Invalid("`sites` must be a list of site ids; in CSV, they are separated by semicolons.")
        if all_sites and sites:
            raise Invalid("The line has both `all_sites` and `sites`.")
        if not all_sites and not sites:
            all_sites, sites = self._defaults.all_sites, list(self._defaults.sites)
        if not all_sites and not sites:
            raise Invalid("The line names no sites. Fill in `sites` or `all_sites`, or add --site or --all-sites.")
        if sites and (len(sites) > MAX_SITES or not all(map(is_text, sites))):
            raise Invalid(f"`sites` must be at most {MAX_SITES:,} ids without control characters.")
        return all_sites, () if all_sites else tuple(sorted(set(sites or ())))


def _time(text: object) -> datetime | None:
    """Return a time. Raises Invalid unless it states its offset from UTC."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is not None and time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid("`expires_at` must be a time with a UTC offset, such as 2027-01-31T00:00:00Z.")
