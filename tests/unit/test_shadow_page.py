"""The table of docs/shadow-mode.md places every refusal."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import proxy
from admin.api.shadow_fixes import FIXES
from proxy import refusals
from proxy.refusals import Refusal

SOURCES: Final = Path(proxy.__file__).parent
PAGE: Final = SOURCES.parent / "docs" / "shadow-mode.md"
CODES: Final = {name: value.code for name, value in vars(refusals).items() if isinstance(value, Refusal)}
"""The code of each refusal, keyed by its constant."""


def table() -> dict[str, str]:
    """Return whether each code is suspended, as the page says."""
    return dict(re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", PAGE.read_text("utf-8"), re.M))


def codes_in(files: Iterable[Path]) -> set[str]:
    """Return the codes of the refusals that these modules name."""
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    return {
        CODES[alias.name]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "proxy.refusals"
        for alias in node.names
        if alias.name in CODES
    }


def test_the_table_places_every_code() -> None:
    assert table().keys() == set(CODES.values())
    assert set(table().values()) == {"yes", "no", "in part"}


def test_the_refusals_of_the_decision_are_suspended_and_no_others() -> None:
    decision = codes_in([*(SOURCES / "decision").rglob("*.py"), *(SOURCES / "limits").rglob("*.py")])
    others = codes_in([*(SOURCES / "http").rglob("*.py"), SOURCES / "relay" / "client_input.py"])
    others |= {"second_resource", "method_not_allowed"}  # proxy/shadow.py keeps some of them
    for code, suspended in table().items():
        expected = "no" if code not in decision or code == "no_route" else "in part" if code in others else "yes"
        assert suspended == expected, code


def test_every_suspended_code_has_a_fix() -> None:
    assert FIXES.keys() == {code for code, suspended in table().items() if suspended != "no"}
