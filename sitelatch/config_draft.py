"""Validates the tables of a config, and goes on without the invalid ones, so that all mistakes are found at once."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from sitelatch.config import Config
from sitelatch.config_errors import invalid_values
from sitelatch.config_source import ConfigSource, Fault, is_in, value_at, written_order
from sitelatch.toml_scanner import Place

_MOST_ROUNDS = 200

_ANYBODY = [{"emails": ["nobody@example.com"]}]
_STAND_INS: Mapping[str, Any] = {
    "proxy.routes.upstream": "http://127.0.0.1",
    "admin.public_url": "https://admin.example",
    "admin.oidc.allow": _ANYBODY,
    "admin.identity_proxy.allow": _ANYBODY,
}
"""Valid values for options that have no default, so that the other options of their table can still be checked."""
_STAND_IN_ROUTE = {"name": "unnamed", "upstream": "http://127.0.0.1"}


class ConfigDraft:
    """A copy of a config's tables, from which invalid values are removed until the rest is a valid config."""

    def __init__(self, source: ConfigSource) -> None:
        self._source = source
        self._tables: dict[str, Any] = deepcopy(source.tables)
        self._removed: list[Place] = []
        """What was removed or replaced. These are places in the source."""
        self._indexes: dict[Place, list[int]] = {}
        """For each list from which an item was removed: where its items are in the source."""

    @property
    def is_whole(self) -> bool:
        """Return whether nothing was removed, so that the draft is the config."""
        return not self._removed

    def remove(self, place: Place) -> None:
        """Remove the value at a place of the source, because it is invalid."""
        if not any(is_in(place, removed) for removed in self._removed):
            self._removed.append(place)
            self._remove([self._here(place)])

    def without_value(self, place: Place) -> None:
        """Note that the value at `place` is unknown, so that nothing that follows from its absence is reported."""
        self._removed.append(place)

    def validated(self) -> tuple[Config | None, list[Fault]]:
        """Return the valid part of the config, and the faults of the rest. There may be no valid part."""
        found: dict[Fault, None] = {}
        for _ in range(_MOST_ROUNDS):
            try:
                return Config.parse(self._tables, self._source), list(found)
            except ValidationError as error:
                invalid = list(dict.fromkeys(invalid_values(error, Config, self._tables)))
            for fault in self.faults(invalid):
                found[fault] = None
            self._removed += [self.there(fault.place) for fault in invalid]
            self._remove(fault.place for fault in invalid)
        return None, list(found)

    def faults(self, faults: list[Fault]) -> list[Fault]:
        """Return the faults of the valid part with their places in the source, without those of removed values."""
        translated = [
            fault._replace(place=self.there(fault.place), depends_on=tuple(map(self.there, fault.depends_on)))
            for fault in faults
        ]
        return [fault for fault in translated if not self._is_affected(fault)]

    def _is_affected(self, fault: Fault) -> bool:
        """Return whether a fault may only follow from the removal of a value. Its place is one of the source."""
        return any(
            is_in(place, removed) or is_in(removed, place)
            for place in (fault.place, *fault.depends_on)
            for removed in self._removed
        )

    def there(self, place: Place) -> Place:
        """Return where a place of this draft is in the source."""
        found: Place = ()
        for index, part in enumerate(place):
            indexes = self._indexes.get(place[:index])
            found = (*found, indexes[part] if indexes is not None and isinstance(part, int) else part)
        return found

    def _here(self, place: Place) -> Place:
        """Return where a place of the source is in this draft."""
        found: Place = ()
        for part in place:
            indexes = self._indexes.get(found)
            found = (*found, indexes.index(part) if indexes is not None and isinstance(part, int) else part)
        return found

    def _remove(self, places: Iterable[Place]) -> None:
        """Remove values of this draft, or put stand-ins in their place."""
        targets = {self._target(place) for place in places}
        outermost = [each for each in targets if not any(is_in(each, other) for other in targets - {each})]
        # Items at the end of a list first, so that the places of the others stay valid.
        for place in sorted(outermost, key=written_order, reverse=True):
            name, outer, last = _name(place), value_at(self._tables, place[:-1]), place[-1]
            if name in ("proxy", "proxy.routes") and isinstance(last, str):
                proxy = self._tables.get("proxy")
                self._tables["proxy"] = {**(proxy if isinstance(proxy, dict) else {}), "routes": [_STAND_IN_ROUTE]}
            elif isinstance(last, int):
                self._remove_item(place[:-1], last)
            elif name in _STAND_INS:
                outer[last] = deepcopy(_STAND_INS[name])
            elif name == "proxy.routes.name":
                outer[last] = f"unnamed-{place[-2]}"
            else:
                del outer[last]

    def _target(self, place: Place) -> Place:
        """Return the value to remove: the one at `place`, or the table in which a required option is missing."""
        has_stand_in = _name(place) in (*_STAND_INS, "proxy", "proxy.routes", "proxy.routes.name")
        outer, last = value_at(self._tables, place[:-1]), place[-1]
        is_there = last in outer if isinstance(outer, dict) else isinstance(outer, list) and isinstance(last, int)
        return place if is_there or has_stand_in or len(place) == 1 else self._target(place[:-1])

    def _remove_item(self, place: Place, index: int) -> None:
        items = value_at(self._tables, place)
        self._indexes.setdefault(place, list(range(len(items))))
        del items[index], self._indexes[place][index]
        # The places inside the items behind it have moved.
        moved = {each: kept for each, kept in self._indexes.items() if is_in(each, place) and len(each) > len(place)}
        for each in moved:
            del self._indexes[each]
        for each, kept in moved.items():
            at = each[len(place)]
            if isinstance(at, int) and at != index:
                self._indexes[(*place, at - (at > index), *each[len(place) + 1 :])] = kept


def _name(place: Place) -> str:
    """Return the name of an option, such as `proxy.routes.name`."""
    return ".".join(part for part in place if isinstance(part, str))
