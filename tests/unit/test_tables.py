"""The tables of the command: they fit a terminal, and are complete for programs."""

import pytest

from sitelatch.commands.tables import Column, Table, cells, printable, shortened

COLUMNS = (
    Column[dict[str, str]]("NAME", lambda row: row["name"], least=8),
    Column[dict[str, str]]("KEY", lambda row: row["key"]),
    Column[dict[str, str]]("ID", lambda row: row["id"], least=5, is_optional=True),
    Column[dict[str, str]]("BY", lambda row: row["by"], least=10, is_optional=True),
)
ROWS = [
    {"name": "Nightly export of everything", "key": "slk_ohAX…9f2c", "id": "0123456789", "by": "Ada <ada@example.com>"},
    {"name": "日本語のエクスポート", "key": "slk_aaaa…bbbb", "id": "abcdefghij", "by": "Ben"},
    {"name": "e\u0301te\u0301", "key": "slk_cccc…dddd", "id": "klmnopqrst", "by": "Eve"},
]


@pytest.mark.parametrize("width", range(20, 100))
def test_a_table_fits_every_width_and_its_columns_are_aligned(width: int) -> None:
    lines = Table(COLUMNS, width).lines(ROWS, is_last=True)
    assert all(cells(line) <= width for line in lines)
    if width >= 8 + 2 + 13:
        assert len({cells(line[: line.index("slk_")]) for line in lines[1:]}) == 1
        assert all(key in "".join(lines) for key in ("9f2c", "bbbb", "dddd"))


def test_columns_shrink_before_optional_ones_are_left_out() -> None:
    titles = [Table(COLUMNS, width).lines(ROWS, is_last=True)[0].split() for width in (100, 42, 41, 30, 29)]
    assert titles == [
        ["NAME", "KEY", "ID", "BY"],
        ["NAME", "KEY", "ID", "BY"],
        ["NAME", "KEY", "ID"],
        ["NAME", "KEY", "ID"],
        ["NAME", "KEY"],
    ]


def test_a_table_for_programs_shortens_nothing() -> None:
    table = Table(COLUMNS, None)
    first = table.lines(ROWS[:1], is_last=False)
    [second] = table.lines([ROWS[0] | {"name": "x" * 100}], is_last=True)
    assert first[0].split() == ["NAME", "KEY", "ID", "BY"]
    assert first[1] == "  ".join(ROWS[0].values())
    assert "x" * 100 in second


def test_later_parts_of_a_table_use_the_space_that_the_first_one_left() -> None:
    short, long = ROWS[2], ROWS[0]
    table = Table(COLUMNS, 120)
    table.lines([short], is_last=False)
    [line] = table.lines([long], is_last=True)
    assert long["name"] in line
    assert cells(line) <= 120


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines\tand a tab", "two\\nlines\\tand a tab"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("Ada 👩\u200d💻 ñ", "Ada 👩\u200d💻 ñ"),
    ],
)
def test_characters_that_a_terminal_obeys_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
    ],
)
def test_a_long_text_is_shortened_to_the_cells_that_it_may_take(text: str, width: int, shown: str) -> None:
    assert shortened(text, width) == shown
