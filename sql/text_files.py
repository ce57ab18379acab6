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
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""The first bytes of .xlsx, .ods and .numbers files, which are ZIP archives, and of .xls files."""
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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


def decode_spreadsheet(raw: bytes) -> tuple[str, str]:
    """Decode a text file that a spreadsheet program wrote. Return the text and the encoding, such as "windows-1252".

    The encoding is that of the byte order mark, or else UTF-8 or UTF-16 if the bytes look like it, or else
    Windows-1252, which has the letters of Latin-1. Raises NotText.
    """
    if raw.startswith(_WORKBOOKS):
        raise NotText("This is a workbook, not a text file. Save the sheet as CSV")
    marked = next((encoding for mark, encoding in _ENCODINGS if raw.startswith(mark)), None)
    if marked is not None:
        return _decoded(raw, marked), marked.removesuffix("-sig")
    sample = raw[:_SAMPLE].decode("latin-1")
    if _looks_like_utf_16(sample):
        return _decoded(raw, "utf-16-be" if sample.startswith("\0") else "utf-16-le"), "utf-16"
    try:
        return plain_text(raw.decode()), "utf-8"
    except UnicodeDecodeError:
        return _decoded(raw, "cp1252"), "windows-1252"


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return plain_text(raw.decode(encoding))
    except UnicodeDecodeError as error:
        line = _line(error.object[: error.start].decode(encoding, "ignore"))
        name = "UTF-8 or Windows-1252" if encoding == "cp1252" else encoding[:6].upper().rstrip("-")
        raise NotText(f"Line {line} is not {name} text. Save the file as UTF-8") from None


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
