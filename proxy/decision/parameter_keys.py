"""Key locations in a parameter: a cookie or a query parameter, in any spelling of its name. No I/O."""

from collections.abc import Sequence
from typing import ClassVar

from proxy.decision.header_keys import Field
from proxy.decision.key_examples import KeyExample, challenge_without_scheme
from proxy.decision.parameter_finder import Finder, Found
from proxy.decision.pieces import Pieces
from proxy.http.headers import Fields
from proxy.http.percent_encoding import decode
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_KEY_IN_TWO_READINGS = AMBIGUOUS_REQUEST.because(
    "The query parameter that carries the API key is next to `;` or `?`, where some servers separate parameters. "
    "Separate parameters with `&`, and percent-encode other characters."
)
_RAW_KEY = AMBIGUOUS_REQUEST.because(
    "The query parameter that carries the API key contains bytes outside ASCII. Send the key as it was issued."
)
_LONG_VALUE = 1024
_LONG_ENCODED_KEY = AMBIGUOUS_REQUEST.because(
    f"The query parameter or cookie that carries the API key has a value of more than {_LONG_VALUE} bytes that "
    "contains `%`. Send the key as it was issued."
)
_MAX_COOKIE_LINES = 4
_MANY_COOKIE_LINES = AMBIGUOUS_REQUEST.because(
    f"The cookie that carries the API key is among more than {_MAX_COOKIE_LINES} Cookie headers. Send only one."
)


class CookieKey:
    """A cookie."""

    form: ClassVar[str] = "cookie:NAME"

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = f"the cookie `{name}`"

    def describe(self) -> str:
        return f"as the cookie `{self.name}`"

    def example(self) -> KeyExample:
        return KeyExample(header=("Cookie", f"{self.name}={{key}}"))

    def challenge(self) -> str:
        return challenge_without_scheme("cookie", self.name)

    @staticmethod
    def read(finder: Finder, fields: Fields, keys: set[bytes]) -> Fields:
        """Return the fields without the cookies that `finder` finds, and add their values to `keys`."""
        every = [value for name, value in fields if name.lower() == b"cookie"]
        cookies = b";".join(every)
        found = _found_in(cookies, finder)
        if not found:
            return fields
        if len(every) > _MAX_COOKIE_LINES:
            raise Refused(_MANY_COOKIE_LINES)
        kept: Fields = []
        for field in fields:
            rest: Field | None = field
            if field[0].lower() == b"cookie":
                rest = _without_cookies(field, found if len(every) == 1 else _found_in(field[1], finder), keys)
            if rest is not None:
                kept.append(rest)
        return kept


class QueryKey:
    """A query parameter."""

    form: ClassVar[str] = "query:NAME"

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = f"the query parameter `{name}`"

    def describe(self) -> str:
        return f"as the query parameter `{self.name}`"

    def example(self) -> KeyExample:
        return KeyExample(parameter=(self.name, "{key}"))

    def challenge(self) -> str:
        return challenge_without_scheme("query", self.name)

    @staticmethod
    def read(finder: Finder, target: bytes, keys: set[bytes], work: int) -> tuple[bytes, Pieces | None]:
        """Return a target without the parameters that `finder` finds, and add their values to `keys`.

        Also return the pieces of the whole query, or None if it was not split. Raises Refused if servers disagree on
        where the parameter ends, or if the query takes too much work. `work` is the work of the rest of the head.
        """
        path, _, query = target.partition(b"?")
        if finder.is_silent(query):
            return target, None
        pieces = finder.split(query, work)
        kept = []
        begin = 0
        for start, end, _ in finder.find(pieces):
            before = query.rfind(b"&", 0, start) + 1
            after = query.find(b"&", end)
            piece = query[before : after if after >= 0 else len(query)]
            if b";" in piece or b"?" in piece.lstrip(b"?"):
                raise Refused(_KEY_IN_TWO_READINGS)
            if not piece.isascii():
                raise Refused(_RAW_KEY)
            keys.add(_decoded(piece.partition(b"=")[2]))
            if before > begin:
                kept.append(query[begin : before - 1])
            begin = after + 1 if after >= 0 else len(query) + 1
        if not begin:
            return target, pieces
        if begin <= len(query):
            kept.append(query[begin:])
        return (path + b"?" + b"&".join(kept) if kept else path), pieces


def _decoded(value: bytes) -> bytes:
    """Decode a key from a query or cookie. Raises Refused on a long value with `%`, because decoding it is slow."""
    if len(value) > _LONG_VALUE and b"%" in value:
        raise Refused(_LONG_ENCODED_KEY)
    return decode(value)


def _found_in(raw: bytes, finder: Finder) -> list[Found]:
    """Return the cookies that `finder` finds."""
    return [] if finder.is_silent(raw) else finder.find(finder.split(raw))


def _without_cookies(field: Field, found: Sequence[Found], keys: set[bytes]) -> Field | None:
    """Return a Cookie field without these cookies, or None if nothing is left. Add their values to `keys`."""
    raw = field[1]
    kept = []
    begin = 0
    for start, end, _ in found:
        before = raw.rfind(b";", 0, start) + 1
        after = raw.find(b";", end)
        value = raw[end : after if after >= 0 else len(raw)].removeprefix(b"=")
        keys.add(_decoded(value.strip(b' \t"')))
        kept.append(raw[begin : before if after >= 0 else max(before - 1, begin)])
        begin = after + 1 if after >= 0 else len(raw)
    if not kept:
        return field
    rest = b"".join((*kept, raw[begin:])).strip()
    return (field[0], rest) if rest else None
