"""Parses a TOML file, and goes on after a mistake, so that all mistakes are found at once."""

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

from sitelatch.toml_scanner import Place, Statement, TomlScanner

_MOST_MISTAKES = 20
_UNREADABLE = "\ue000 a value that is not valid TOML"
"""Stands for a value that cannot be parsed, until its place is known."""
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")

_FIXES = {
    "Invalid value": 'Write text in quotes: "…".',
    "Expected newline or end of document after a statement": 'Write text in quotes: "…", and # before a comment.',
    "Expected '=' after a key": "Write KEY = VALUE.",
    "Invalid statement": "Write KEY = VALUE, or [TABLE].",
    "Invalid initial character for a key": "Put a key with other characters than letters, digits, - and _ in quotes.",
    "Cannot overwrite a value": "The key is set twice. Remove one of the two.",
    "Duplicate inline table key": "Remove one of the two.",
    "Cannot declare": "Merge the two tables into one.",
    "Cannot mutate": "A list or table in one line cannot be extended. Write all of it there.",
    "Unclosed array": "Close the list with ], and write a comma between two items.",
    "Unclosed inline table": "Close the table with }, and write a comma between two keys.",
    "Expected ']": "Close the table's name with ], or with ]] if it begins with [[.",
    "Illegal character '\\n'": "Close the text with a quote.",
    "Unterminated string": "Close the text with a quote.",
    "Unescaped '\\'": "Write text with backslashes in single quotes: '…'.",
}
"""What to do about the errors of `tomllib`, keyed by the beginning of its message."""

_OF_THE_STATEMENT = ("Unclosed", "Unterminated", "Expected '\"", "Expected \"'", "Cannot overwrite", "Cannot mutate")
"""Errors that `tomllib` notices only at the end of a value, or behind it."""


@dataclass(slots=True)
class TomlDocument:
    """The content of a TOML file, and the mistakes in it."""

    tables: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[tuple[int | None, str]] = field(default_factory=list)
    """A line and a message for each part that is not valid TOML."""
    unreadable: list[Place] = field(default_factory=list)
    """The keys whose values are not valid TOML. `tables` does not contain them."""
    is_whole: bool = True
    """Whether `tables` contains everything but the unreadable values."""


def parse_toml(text: str) -> TomlDocument:
    """Parse a TOML file. Mistakes do not raise, but are part of the result."""
    document = TomlDocument()
    replaced: set[int] = set()
    while True:
        try:
            document.tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message, offset = _message(error, text)
            scanner = TomlScanner(text)
            statement = next((each for each in reversed(scanner.statements) if each.start <= offset), None)
            at = offset if statement is None or not message.startswith(_OF_THE_STATEMENT) else statement.start
            is_new = statement is None or statement.start not in replaced
            begins = None if statement is None else scanner.line_at(statement.start)
            if begins is not None and begins < scanner.line_at(at):
                message += f" Check that the value that begins in line {begins} ends where it should."
            if is_new:
                document.mistakes.append((scanner.line_at(at), message))
            if (
                statement is None
                or text[statement.start] == "["
                or "\n" in text[statement.start : statement.end]
                or len(document.mistakes) == _MOST_MISTAKES
            ):
                document.is_whole = False
                return document
            text = _without_value(text, statement, keep_key=is_new)
            replaced.add(statement.start)
        except (ValueError, RecursionError) as error:  # ValueError: for a number with thousands of digits
            document.mistakes.append((None, str(error)))
            document.is_whole = False
            return document
        else:
            break
    document.lines = TomlScanner(text).lines
    _take_out(document, (), document.tables)
    return document


def _message(error: tomllib.TOMLDecodeError, text: str) -> tuple[str, int]:
    """Return the message of an error with a hint, and its offset in the text."""
    message, offset = str(error), len(text)
    if found := _POSITION.search(message):
        message = message[: found.start()]
        if found[1]:
            lines = text.split("\n")
            offset = sum(len(line) + 1 for line in lines[: int(found[1]) - 1]) + int(found[2]) - 1
    fix = next((fix for start, fix in _FIXES.items() if message.startswith(start)), "")
    return f"{message}. {fix}".rstrip(), offset


def _without_value(text: str, statement: Statement, *, keep_key: bool) -> str:
    """Replace the value of a statement, or the whole statement. The offsets of the statements before it stay."""
    replacement = f'{statement.key} = "{_UNREADABLE}"' if keep_key and statement.key else ""
    return text[: statement.start] + replacement + text[statement.end :]


def _take_out(document: TomlDocument, place: Place, value: Any) -> None:
    """Remove the values that stand for unreadable ones."""
    for key, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        if inner == _UNREADABLE:
            document.unreadable.append((*place, key))
            del value[key]
        elif isinstance(inner, (dict, list)):
            _take_out(document, (*place, key), inner)
