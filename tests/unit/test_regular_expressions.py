"""Regular expressions that Python 3.11.0 to 3.11.4 matches wrongly (python/cpython#106052)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[0-9]*,?[0-9]*\})\+")


def possessive_groups(source: str) -> Iterator[str]:
    """Yield the string constants in which a quantifier after a group is possessive."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            # An alphabet that lists all characters is not a pattern.
            if POSSESSIVE_GROUP.search(text) and "abcdefghijklmnopqrstuvwxyz" not in text:
                yield text


@pytest.mark.parametrize("pattern", ["(?:ab?c)*+", "(?:a)?+b", "(a){0,99}+", "(a)++"])
def test_a_possessive_quantifier_after_a_group_is_found(pattern: str) -> None:
    assert list(possessive_groups(f"re.compile(rb'{pattern}')")) == [pattern]


@pytest.mark.parametrize("folder", ["admin", "proxy", "sitelatch", "sql"])
def test_groups_are_repeated_atomically_instead_of_possessively(folder: str) -> None:
    # `(?>(?:ab?c)*)` means the same as `(?:ab?c)*+`. Old versions match only the first one correctly. With the second
    # one, a request for /api/sites/shop/x?site=blog passed with a key for shop.
    for file in sorted((ROOT / folder).rglob("*.py")):
        assert list(possessive_groups(file.read_text())) == [], file
