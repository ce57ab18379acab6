"""Named SQL queries, each with a name and a purpose."""

from pathlib import Path

import pytest

import sql
from sql.queries import UnknownQuery, query, read_blocks, read_folder


def test_an_sql_query_is_loaded_without_its_name_purpose_and_semicolon() -> None:
    text = "-- A file.\n\n-- name: one\n-- What it is for.\nSELECT 1\nFROM x;\n\n-- name: two\n-- Why.\nSELECT 2;\n"
    assert dict(read_blocks(text)) == {"one": "SELECT 1\nFROM x", "two": "SELECT 2"}


@pytest.mark.parametrize("text", ["-- name: one\nSELECT 1", "-- name: one\n-- Purpose.\n", "-- name: one\n"])
def test_an_sql_query_without_a_purpose_or_statement_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="one needs a comment with its purpose and a statement"):
        dict(read_blocks(text))


def test_two_sql_queries_with_the_same_name_are_an_error(tmp_path: Path) -> None:
    for file in ("a.sql", "b.sql"):
        (tmp_path / file).write_text("-- name: one\n-- Purpose.\nSELECT 1")
    with pytest.raises(ValueError, match="two queries are named one"):
        read_folder(tmp_path)


def test_the_error_for_an_unknown_query_names_it() -> None:
    assert query("find_grant").startswith("SELECT")
    with pytest.raises(UnknownQuery, match=r"-- name: find_grent"):
        query("find_grent")


def test_sql_files_are_ascii_because_the_encoding_of_a_database_may_lack_other_characters() -> None:
    files = list(Path(sql.__file__).parent.rglob("*.sql"))
    assert len(files) > 5
    assert [file.name for file in files if not file.read_bytes().isascii()] == []
