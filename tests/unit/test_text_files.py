"""Text files that people write: their encodings and line endings, and one message for each fault."""

import codecs
from pathlib import Path

import pytest

from sql.text_files import NoSuchFile, NotText, decode_text, read_text

TEXT = 'a = "é"\nb = 2\n'


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
    ],
)
def test_utf_8_text_is_read_with_any_line_endings_and_a_byte_order_mark(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(raw)
    assert read_text(file) == decode_text(raw) == TEXT


def test_an_empty_file_is_empty_text() -> None:
    assert decode_text(b"") == decode_text(codecs.BOM_UTF8) == ""


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (TEXT.encode("utf-16"), "This is UTF-16 text"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "This is UTF-16 text"),
        (TEXT.encode("utf-16-le"), "This is UTF-16 text"),
        (TEXT.encode("utf-16-be"), "This is UTF-16 text"),
        (TEXT.encode("utf-32"), "This is UTF-32 text"),
        (b"a = 1\n" + TEXT.encode("latin-1"), "Line 2 is not UTF-8 text, but probably Latin-1 or Windows-1252"),
        (b"a = 1\r\nb = 1\r\nc = \x80\r\n", "Line 3 is not UTF-8 text"),
        (b"a = 1\nb = \0\n", "Line 2 contains a NUL character"),
        (b"PK\x03\x04\x14\0\x08\0" + b"\xd3\xff", "Line 1 contains a NUL character"),  # a workbook
        (TEXT.encode("utf-32-le"), "Line 1 contains a NUL character"),
        (b"\0" * 100, "Line 1 contains a NUL character"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01", "contains a NUL character"),
    ],
)
def test_an_encoding_error_is_reported_with_its_line(raw: bytes, fault: str) -> None:
    with pytest.raises(NotText, match=fault):
        decode_text(raw)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotText, match="Is a directory"):
        read_text(tmp_path)
    with pytest.raises(NoSuchFile, match="No such file or directory"):
        read_text(tmp_path / "gone")
    with pytest.raises(NotText, match="Not a directory"):
        read_text(Path("/dev/null/x"))
