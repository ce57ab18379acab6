"""Decodes the raw value of a parameter in every way in which some backend does. No I/O."""

from dataclasses import dataclass

from proxy.http.percent_encoding import (
    BARE_PERCENTS,
    MAX_ROUNDS,
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

LONG_VALUE = 1024
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
    has_unicode = b"%u" in raw or b"%U" in raw
    if PERCENT not in raw or (not has_unicode and decode_leniently(literal) == literal):
        return ValueReadings(text(literal), text(form), ())
    if len(raw) > LONG_VALUE:
        raise Refused(TOO_DEEP)
    deeper = set(rounds(decode_leniently(raw) if has_unicode else literal, MAX_ROUNDS - 1))
    if spaced != raw:
        deeper.update(rounds(decode_leniently(spaced) if has_unicode else form, MAX_ROUNDS - 1))
    return ValueReadings(text(literal), text(form), tuple(map(text, deeper - {literal, form})))


def is_deep(values: bytes) -> bool:
    """Return whether some value, in any text between line breaks, may have readings that only some backends find."""
    if PERCENT not in values:
        return False
    if b"%u" in values or b"%U" in values:
        return True
    decoded = decode_if_cheap(values)
    return decoded is None or (PERCENT in decoded and decode_leniently(decoded) != decoded)
