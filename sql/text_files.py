"""Reads text files that people write: configs, secrets, CSV files. Nothing else handles encodings and line endings.

Each fault has one message. It names the line, but repeats nothing from the file, which may be a secret.
"""

import codecs
from pathlib import Path

_BOM = "\ufeff"
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_IS_UTF_16 = "This is UTF-16 text, which some Windows programs call Unicode. Save it as UTF-8"
_BINARY = "Line {} contains a NUL character, so this is not a text file"
_SAMPLE = 512


class NotText(Exception):  # noqa: N818 - names what is wrong
    """A file cannot be read as text. The message says why, and does not name the file."""


class NoSuchFile(NotText):
    """The file does not exist."""


def read_text(file: Path) -> str:
    """Return the text of a file. Raises NotText."""
    try:
        return decode_text(file.read_bytes())
    except OSError as error:
        kind = NoSuchFile if isinstance(error, FileNotFoundError) else NotText
        raise kind(error.strerror) from None


def decode_text(raw: bytes) -> str:
    """Decode the content of a file. Raises NotText unless it is UTF-8, with or without a byte order mark."""
    if raw.startswith(_UTF_32):
        raise NotText("This is UTF-32 text. Save it as UTF-8")
    if raw.startswith(_UTF_16) or _looks_like_utf_16(raw[:_SAMPLE].decode("latin-1")):
        raise NotText(_IS_UTF_16)
    try:
        return plain_text(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        before, nul, _ = raw.partition(b"\0")
        if nul:
            raise NotText(_BINARY.format(_line(before.decode("latin-1")))) from None
        line = _line(raw[: error.start].decode("utf-8"))
        raise NotText(
            f"Line {line} is not UTF-8 text, but probably Latin-1 or Windows-1252. Save the file as UTF-8"
        ) from None


def plain_text(text: str) -> str:
    """Return text without a byte order mark, and with `\\n` at the end of each line. Raises NotText on a NUL."""
    text = text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")
    before, nul, _ = text.partition("\0")
    if nul and _looks_like_utf_16(text[:_SAMPLE]):
        raise NotText(_IS_UTF_16)
    if nul:
        raise NotText(_BINARY.format(_line(before)))
    return text


def _looks_like_utf_16(sample: str) -> bool:
    """Return whether most of every other character is NUL, as in ASCII text that is encoded as UTF-16."""
    halves = sample[::2], sample[1::2]
    return any(2 * high.count("\0") > len(high) and "\0" not in low for high, low in (halves, reversed(halves)))


def _line(before: str) -> int:
    """Return the number of the line that follows this text."""
    return before.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
