"""Decodes the raw value of a parameter in every way in which some backend does. No I/O."""

from dataclasses import dataclass

from proxy.http.percent_encoding import (
    BARE_PERCENTS,
    PERCENT,
    PLUS,
    TOO_DEEP,
    decode,
    decode_if_cheap,
    decode_leniently,
    rounds,
    text,
)
from proxy.refusals import Refused

_LONG_VALUE = 1024
"""A value with more bytes must not be encoded twice."""


@dataclass(slots=True)
class ValueReadings:
    """The readings of one raw value."""

    literal: str
    """Decoded once (RFC 3986), with `+` as `+`."""
    form: str
    """Decoded once, with `+` as a space, as HTML forms encode it. Both readings are valid, and servers differ."""
    deeper: tuple[str, ...]
    """Decoded as only some backends do: more than once, or with `%uXXXX`."""

    def every(self) -> set[str]:
        """Return all readings."""
        return {self.literal, self.form, *self.deeper}


def value_readings(raw: bytes) -> ValueReadings:
    """Return the readings of a raw value. Raises Refused if it is encoded too deeply."""
    if PERCENT not in raw and PLUS not in raw:
        plain = text(raw)
        return ValueReadings(plain, plain, ())
    literal = decode_if_cheap(raw)
    if literal is None:
        raise Refused(BARE_PERCENTS)
    spaced = raw.replace(b"+", b" ")
    form = literal if spaced == raw else decode(spaced)
    if PERCENT not in raw or (b"%u" not in raw and b"%U" not in raw and decode_leniently(literal) == literal):
        return ValueReadings(text(literal), text(form), ())
    if len(raw) > _LONG_VALUE:
        raise Refused(TOO_DEEP)
    deeper = {*rounds(raw)[1:], *(() if spaced == raw else rounds(spaced)[1:])} - {literal, form}
    return ValueReadings(text(literal), text(form), tuple(map(text, deeper)))
