"""The cells of CSV files that people open in spreadsheet programs. No I/O."""

import re
from typing import Final

_FORMULA: Final = re.compile(r"(^|[;\t\r\n])(\s*)([=+\-@＝＋－＠])")
"""The beginning of a formula, with or without spaces before it. Where lists are separated by semicolons, a spreadsheet
program also begins a cell after each semicolon in a file that is separated by commas."""


def plain_cell(text: str) -> str:
    """Return text with an apostrophe before each formula, so that spreadsheet programs show it as text."""
    return _FORMULA.sub(r"\1\2'\3", text)
