"""Where each value of a config comes from: a line of the file, or a variable of the environment."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sitelatch.toml_scanner import Place

LISTED = ("routes", "tokens", "allow")
"""The keys of arrays of tables, written `[[…]]`."""


class Fault(NamedTuple):
    """A mistake in a config, or a probable one: where it is, the rule, and how to fix it."""

    place: Place
    message: str
    depends_on: tuple[Place, ...] = ()
    """Other options that the message takes for granted. If one of them is invalid, the message may be wrong."""


class ConfigError(Exception):
    """The config is invalid. `complaints` contains one message per mistake."""

    def __init__(self, complaints: Sequence[str], faults: Sequence[Fault] = ()) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = tuple(complaints)
        self.faults = tuple(faults)


class ConfigSource:
    """The tables of a config as they were written, and where each part was written."""

    def __init__(self, file: Path, tables: dict[str, Any], lines: dict[Place, int]) -> None:
        self.file = file
        self.tables = tables
        self._lines = dict(lines)
        self._variables: dict[Place, str] = {}

    def override(self, place: Place, variable: str) -> None:
        """Note that a variable of the environment replaces the value at `place`."""
        self._lines = {each: line for each, line in self._lines.items() if not is_in(each, place)}
        self._variables[place] = variable

    def places_of(self, variable: str) -> list[Place]:
        """Return the places that a variable sets."""
        return [place for place, name in self._variables.items() if name == variable]

    def origin(self, place: Place) -> str:
        """Return the file and line, or the variable, that sets the value, or the table in which it is missing."""
        for length in range(len(place), 0, -1):
            part = place[:length]
            if (line := self._lines.get(part)) is not None:
                return f"{self.file}:{line}"
            if variable := next((name for each, name in self._variables.items() if is_in(each, part)), None):
                return variable
        return f"{self.file}:1"

    def complaints(self, faults: Iterable[Fault]) -> list[str]:
        """Return the messages of faults: those in the file in the order of its lines, then those in variables."""
        ordered = sorted(faults, key=lambda fault: self._order(fault.place))
        messages = (
            f"{self.origin(each.place)}: {described(each.place, self.tables)}: {each.message}" for each in ordered
        )
        return list(dict.fromkeys(messages))

    def check(self, faults: Sequence[Fault]) -> None:
        """Raise ConfigError if there are faults."""
        if faults:
            raise ConfigError(self.complaints(faults), faults)

    def _order(self, place: Place) -> tuple[bool, int, list[tuple[int, str]]]:
        from_file, _, line = self.origin(place).rpartition(":")
        return not from_file, int(line) if from_file else 0, written_order(place)


def written_order(place: Place) -> list[tuple[int, str]]:
    """Return a key that sorts the items of each list as they are written."""
    return [(part, "") if isinstance(part, int) else (-1, part) for part in place]


def is_in(place: Place, outer: Place) -> bool:
    """Return whether a place is `outer`, or inside it."""
    return place[: len(outer)] == outer


def described(place: Place, tables: dict[str, Any]) -> str:
    """Return a place in the notation of the file, such as `[[proxy.routes]] "data" sites, item 2`."""
    outer: list[str] = []
    label, key = "", ""
    for index, part in enumerate(place):
        if isinstance(part, int):
            entry = value_at(tables, place[: index + 1])
            if key and isinstance(entry, dict) and key in LISTED:
                outer.append(key)
                name = entry.get("name")
                label, key = (f' "{name}"' if isinstance(name, str) and key == "routes" else f" number {part + 1}"), ""
            else:
                key += f", item {part + 1}"
        elif not key:
            key = part
        elif ", item" in key:
            key += f", `{part}`"
        else:
            outer.append(key)
            key = part
    if not outer:
        return f"[{key}]"
    name = ".".join(outer)
    table = f"[[{name}]]{label}" if label and outer[-1] in LISTED else f"[{name}]{label}"
    return f"{table} {key}".rstrip()


def value_at(tables: Any, place: Place) -> Any:
    """Return the value at a place, or None."""
    for part in place:
        try:
            tables = tables[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tables
