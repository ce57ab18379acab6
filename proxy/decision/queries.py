"""Parses queries in every way in which some backend splits them. No I/O."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.decision.parameter_finder import Finder, Found
from proxy.decision.parameter_limits import (
    FEW_UNUSUAL,
    MAX_FOUND,
    MAX_FOUND_DEEP,
    MAX_FOUND_ODD,
    TOO_MANY_FOUND,
    TOO_MANY_FOUND_DEEP,
    TOO_MANY_FOUND_ENCODED,
    TOO_MANY_FOUND_IN_SPLITS,
    TOO_MANY_UNUSUAL,
)
from proxy.decision.parameter_names import Name
from proxy.decision.pieces import Pieces
from proxy.decision.value_readings import ValueReadings, is_deep, value_readings
from proxy.decision.work import found_work
from proxy.http.percent_encoding import PERCENT, PLUS
from proxy.refusals import BAD_REQUEST, Refused

_RAW_VALUE = BAD_REQUEST.because(
    "A query parameter that Sitelatch checks contains bytes outside ASCII. Percent-encode them as UTF-8."
)

OnlyParameter = tuple[bytes, bytes] | tuple[()] | None
"""The name and value of the only wanted parameter in a plain query, `()` if it has none, or None for other queries."""


@dataclass(slots=True)
class Parameter:
    """A raw name and its raw value."""

    name: bytes
    value: bytes
    meant: tuple[Name, ...] = ()
    """The wanted names that some backend reads `name` as."""


class Query:
    """A raw query, split in every way in which some backend splits it: at `&`, also at `;`, and also at `?`."""

    __slots__ = ("_last", "_pieces", "_readings", "meant", "splits", "work")

    def __init__(self, pieces: Pieces, finder: Finder) -> None:
        """Raises Refused if there are too many wanted parameters."""
        self._last = 0
        self._pieces = pieces
        self._readings: dict[bytes, ValueReadings] = {}
        self.meant: frozenset[Name] = frozenset()
        """The wanted names that occur in at least one reading of the query."""
        self.splits: list[list[Parameter]] = []
        """The wanted parameters: one list per way of splitting, the literal one first. Empty if there are none."""
        self.work = 0
        """The work that finding and reading the wanted parameters takes (work.py)."""
        found = finder.find(pieces)
        if not found:
            return
        raw = pieces.raw
        splits = [raw]
        if b";" in raw:
            splits.append(raw.replace(b";", b"&"))
        if b"?" in raw:
            splits.append(splits[-1].replace(b"?", b"&"))
        if len(splits) > 1 and len(found) > MAX_FOUND_ODD:
            raise Refused(TOO_MANY_FOUND_IN_SPLITS)
        meanings = {raw[at.start : at.end]: at.meant for at in found}
        self.splits = [_parameters_at(split, found, finder, meanings) for split in splits]
        values = [each.value for split in self.splits for each in split]
        deep = _check_found(len(found), b"\n".join(values))
        odd_names = sum([PERCENT in name or not name.isascii() for name in meanings])
        self.work = found_work(values, deep=deep, odd_names=odd_names)
        self.meant = frozenset(itertools.chain.from_iterable({each.meant for split in self.splits for each in split}))
        last = found[-1].start
        self._last = raw.count(b"&", 0, last) + raw.count(b";", 0, last)

    def is_late(self, most: int) -> bool:
        """Return whether at least `most` other parameters precede a wanted one."""
        return self._last >= most

    def has_name_with(self, word: str, pattern: re.Pattern[str]) -> bool:
        """Return whether a pattern that begins with `word` matches in a parameter's name, folded.

        Raises Refused as `find` does.
        """
        return self._pieces.has_name_with(word, pattern)

    def readings_of(self, value: bytes) -> ValueReadings:
        """Return the readings of a raw value, which are computed once. Raises Refused if it is encoded too deeply."""
        readings = self._readings.get(value)
        if readings is None:
            readings = self._readings[value] = value_readings(value)
        return readings


def _check_found(count: int, values: bytes) -> bool:
    """Raise Refused on too many wanted parameters. The limit is lower if `values`, one per line, are encoded.

    Return whether some value may be encoded more than once.
    """
    if count > MAX_FOUND:
        raise Refused(TOO_MANY_FOUND)
    if count > MAX_FOUND_ODD and (PERCENT in values or PLUS in values):
        raise Refused(TOO_MANY_FOUND_ENCODED)
    deep = is_deep(values)
    if deep and count > MAX_FOUND_DEEP:
        raise Refused(TOO_MANY_FOUND_DEEP)
    return deep


def _parameters_at(
    split: bytes, found: Iterable[Found], finder: Finder, meanings: dict[bytes, tuple[Name, ...]]
) -> list[Parameter]:
    """Return the parameters at these positions in a text that is split at `&`, without duplicates.

    `meanings` are the wanted names that each raw name means. Those of further names are added.
    """
    parameters: dict[tuple[bytes, bytes], Parameter] = {}
    decoded = 0
    read_to = -1
    for at in found:
        if at.start < read_to:
            continue
        begin = split.rfind(b"&", 0, at.start) + 1
        finish = split.find(b"&", at.end)
        read_to = finish if finish >= 0 else len(split)
        name, _, value = split[begin:read_to].partition(b"=")
        if (name, value) in parameters:
            continue
        meant = meanings.get(name)
        if meant is None:
            decoded += PERCENT in name
            if decoded > FEW_UNUSUAL:
                raise Refused(TOO_MANY_UNUSUAL)
            meant = meanings[name] = finder.meant(name)
        if meant and not value.isascii():
            raise Refused(_RAW_VALUE)
        if meant:
            parameters[name, value] = Parameter(name, value, meant)
    return list(parameters.values())
