"""Finds a request's one key in all key locations of a route, and removes it from all of them. No I/O."""

from collections.abc import Callable, Mapping, Sequence

from proxy.decision.header_keys import Field, HeaderKey
from proxy.decision.key_locations import FieldKey, challenges, key_location, parameter_names
from proxy.decision.parameter_finder import Finder
from proxy.decision.parameter_keys import CookieKey, QueryKey
from proxy.decision.parameter_limits import FEW_UNUSUAL
from proxy.decision.pieces import COOKIES, Pieces
from proxy.http.headers import FOLDED, Fields, Head
from proxy.refusals import AMBIGUOUS_KEY, MISSING_KEY, Refusal, Refused

_FieldReader = Callable[[Field, set[bytes]], Field | None]


class KeyReader:
    """Reads the configured key locations. It matches names leniently, so that no key reaches the upstream."""

    __slots__ = (
        "_cookies",
        "_queries",
        "_ways",
        "challenges",
        "field_readers",
        "locations",
        "missing",
        "names",
        "noticed",
        "reads_queries",
        "watched",
    )

    def __init__(self, locations: Sequence[str], watched: Mapping[bytes, int] | None = None) -> None:
        """Raises ValueError, with a message that says what to write instead, if a key location is invalid.

        `watched` maps further header names (in lowercase) to bits. `read` reports which of them are present, because
        it looks at all header names anyway.
        """
        self.locations = [key_location(text) for text in locations]
        by_field: dict[bytes, list[FieldKey]] = {}
        for location in self.locations:
            if isinstance(location, FieldKey):
                by_field.setdefault(location.field, []).append(location)
        for of_field in by_field.values():
            _refuse_part_of_whole(of_field)
        self.field_readers: dict[bytes, _FieldReader] = {
            name: of_field[0].read if len(of_field) == 1 else _one_after_another(of_field)
            for name, of_field in by_field.items()
        }
        """How to read the key in each header that may hold one, keyed by the header's folded name."""
        cookies = parameter_names(self.locations, CookieKey)
        queries = parameter_names(self.locations, QueryKey)
        self._cookies = Finder(cookies, COOKIES, most_unusual=FEW_UNUSUAL) if cookies else None
        self._queries = Finder(queries, most_unusual=FEW_UNUSUAL) if queries else None
        self.reads_queries = bool(queries)
        """Whether a query parameter may hold the key."""
        self.names = frozenset(self.field_readers) | ({b"cookie"} if cookies else frozenset())
        """The headers that may hold a key, in lowercase."""
        self.challenges = challenges(self.locations)
        """The header lines of a response that asks for a key."""
        ways = ", or ".join(location.describe() for location in self.locations)
        self.missing = MISSING_KEY.because(f"{MISSING_KEY.detail} Send one {ways}.")
        """The refusal of a request without a key."""
        self._ways = ways
        self.watched = dict(watched or {})
        """The bits of further headers (noticed_headers.py), keyed by folded name."""
        self.noticed = self.names | self.watched.keys()
        """The folded names of all these headers."""

    def read(self, head: Head, work: int = 0) -> tuple[bytes | None, bytes, Fields, int, Pieces | None]:
        """Return the key or None, the target and fields without the key, and the bits of the watched headers found.

        The last value is the pieces of the query with the key, or None if the query was not split.

        Raises Refused if there are two different keys, if a location can be read in two ways, or if the query takes too
        much work. `work` is the work that the head takes otherwise.
        """
        keys: set[bytes] = set()
        fields: Fields = []
        noticed = self.noticed
        readers = self.field_readers
        watched = 0
        has_cookies = False
        for field in head.fields:
            name = FOLDED[field[0]]
            if name not in noticed:
                fields.append(field)
                continue
            watched |= self.watched.get(name, 0)
            has_cookies |= name == b"cookie"
            reader = readers.get(name)
            kept = field if reader is None else reader(field, keys)
            if kept is not None:
                fields.append(kept)
        for field in head.dropped:
            reader = readers.get(FOLDED[field[0]])
            if reader is not None:
                reader(field, keys)
        in_cookies = in_query = 0
        if has_cookies and self._cookies is not None:
            before = _count(keys)
            fields = CookieKey.read(self._cookies, fields, keys)
            in_cookies = _count(keys) - before
        target = head.target
        pieces: Pieces | None = None
        if self._queries is not None and b"?" in target:
            before = _count(keys)
            target, pieces = QueryKey.read(self._queries, target, keys, work)
            in_query = _count(keys) - before
        keys.discard(b"")
        if len(keys) > 1:
            raise Refused(self._several_keys(head, in_cookies=in_cookies > 0, in_query=in_query > 0))
        return (keys.pop() if keys else None), target, fields, watched, pieces

    def _several_keys(self, head: Head, *, in_cookies: bool, in_query: bool) -> Refusal:
        """Return the refusal of a request with several keys, which says where they are."""
        places: dict[str, None] = {}
        for location in self.locations:
            if isinstance(location, CookieKey):
                is_used = in_cookies
            elif isinstance(location, QueryKey):
                is_used = in_query
            else:
                keys: set[bytes] = set()
                for field in (*head.fields, *head.dropped):
                    if FOLDED[field[0]] == location.field:
                        location.read(field, keys)
                is_used = _count(keys) > 0
            if is_used:
                places[location.place] = None
        *others, last = places
        if not others:
            return AMBIGUOUS_KEY.because(
                f"This request has several different API keys in {last}, in this or another spelling. Send one, "
                f"{self._ways}."
            )
        return AMBIGUOUS_KEY.because(
            f"This request has different API keys in {', '.join(others)} and {last}. Send one, {self._ways}. If a "
            "client uses one of these for something else, the route's `keys_from` can leave it out."
        )


def _count(keys: set[bytes]) -> int:
    """Return the number of keys that are not empty."""
    return len(keys) - (b"" in keys)


def _refuse_part_of_whole(locations: Sequence[FieldKey]) -> None:
    """Raise ValueError if one location reads an entire header and another one reads a part of the same header."""
    wholes = [location for location in locations if isinstance(location, HeaderKey)]
    parts = [location for location in locations if not isinstance(location, HeaderKey)]
    if wholes and parts:
        others = " and ".join(dict.fromkeys(f'"{part.form}"' for part in parts))
        raise ValueError(f'"header:{wholes[0].name}" is the whole header: choose it, or {others}')


def _one_after_another(locations: Sequence[FieldKey]) -> _FieldReader:
    """Return a reader that tries several key locations in the same field, one after another."""

    def read(field: Field, keys: set[bytes]) -> Field | None:
        for location in locations:
            if location.read(field, keys) is None:
                return None
        return field

    return read
