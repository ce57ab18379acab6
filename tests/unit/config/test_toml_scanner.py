"""The lines of keys, tables and list items in a TOML file."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitelatch.toml_scanner import Place, TomlScanner

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yield every place in parsed TOML."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*place, key)
        yield from places(each, (*place, key))


@pytest.mark.parametrize(
    ("text", "line", "place"),
    [
        ("a = 1\nb = 2\n", 2, ("b",)),
        ("\n# c\n\n[t] # comment\n\n  b = 2\n", 6, ("t", "b")),
        ("[a.b.c]\nd = 1", 1, ("a",)),
        ("[a.b]\nc = 1\n\n[a]\nd = 1", 4, ("a",)),
        ("a.b.c = 1\na.b.d = 2", 2, ("a", "b", "d")),
        ('[ "x.y" . \'z\' ]\n"k=]" = 1', 2, ("x.y", "z", "k=]")),
        ('"\\u0061" = 1', 1, ("a",)),
        ("[[t]]\n[[t]]\na = 1", 2, ("t", 1)),
        ("[[t]]\n[[t.u]]\n[[t]]\n[[t.u]]\n[[t.u]]\n[t.u.v]\na = 1", 7, ("t", 1, "u", 1, "v", "a")),
        ('a = [\n  "x",\n\n  # ]\n  "y" , "z",\n]\nb = 1', 5, ("a", 2)),
        ('a = [\n  "x",\n\n  # ]\n  "y" , "z",\n]\nb = 1', 7, ("b",)),
        ("a = [[1,\n2], [\n3]]", 3, ("a", 1, 0)),
        ('a = [{ b = [1,\n2] },\n{ c.d = "}" }]', 3, ("a", 1, "c", "d")),
        ("a = {}\nb = []\nc = 1", 3, ("c",)),
        ('a = """\nb = 1\n""" # """\nc = 1', 4, ("c",)),
        ('a = """"quoted\\""""""\nc = 1', 2, ("c",)),
        ("a = '''\nb = 1'''''\nc = 1", 3, ("c",)),
        ("a = 'C:\\'\nc = 1", 2, ("c",)),
        ('a = "\\"#[{"\nc = 1', 2, ("c",)),
        ("a = 1979-05-27 07:32:00\nb = [1979-05-27 07:32:00,\n1]", 3, ("b", 1)),
        ("a = inf # [\nb = +1_0.5e-3\nc = 1", 3, ("c",)),
    ],
)
def test_a_place_is_where_it_is_written(text: str, line: int, place: Place) -> None:
    assert place in list(places(tomllib.loads(text)))
    assert TomlScanner(text).lines[place] == line


def test_every_key_of_the_example_config_has_its_line() -> None:
    text = EXAMPLE.read_text()
    lines = TomlScanner(text).lines
    written = text.splitlines()
    for place in places(tomllib.loads(text)):
        name = place[-1]
        assert not isinstance(name, str) or name in written[lines[place] - 1]


COMMENT = st.sampled_from(["", "# note\n", "\n", '\t# ] } """ = \'\n', "\n\n"])
SCALAR = st.sampled_from(
    ["1", "-0.5", "true", '"a#]}"', "'b=[\"'", '"""x\n"y" \\""""', "'''\nz'\n'''", "1979-05-27 07:32:00Z", '""', "0xff"]
)
KEY = st.sampled_from(["a", "b-1", "c_2", '"d e"', "'f.g'", '"h\\n"', "1"])


@st.composite
def lists(draw: st.DrawFn) -> str:
    """Return a list over several lines."""
    items = draw(st.lists(st.one_of(SCALAR, st.builds("{{ k = {}, l.m = [2] }}".format, SINGLE_LINE)), max_size=4))
    parts = [f"{draw(COMMENT)}{item}{draw(st.sampled_from([',', ' ,']))}{draw(COMMENT)}" for item in items]
    return f"[{''.join(parts)}]"


SINGLE_LINE = st.sampled_from(["1", '"x"', "'y'", "[1, 2]", "{ n = 1 }"])
VALUE = st.one_of(SCALAR, lists())


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Place, int]]:
    """Return a TOML file, and the lines of its keys."""
    text, lines, count = "", {}, 0
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["table", "list", "dotted"]))
        text += draw(COMMENT)
        table: Place = ("list", count) if kind == "list" else (f"t{number}",)
        if kind == "list":
            count += 1
            text += "[[list]]\n"
        elif kind == "dotted":
            table = ("outer", *table)
            text += f"[ outer . t{number} ] # x\n"
        else:
            text += f"[t{number}]\n"
        for key in draw(st.lists(KEY, unique=True, max_size=4)):
            text += draw(COMMENT)
            [name] = tomllib.loads(f"{key} = 1")
            lines[(*table, name)] = text.count("\n") + 1
            text += f"  {key} = {draw(VALUE)}{draw(st.sampled_from(['', ' # c']))}\n"
    return text, lines


@settings(max_examples=30)
@given(documents())
def test_the_lines_of_any_file_are_found(document: tuple[str, dict[Place, int]]) -> None:
    text, expected = document
    scanned = TomlScanner(text)
    assert {place: scanned.lines[place] for place in expected} == expected
    assert set(places(tomllib.loads(text))) <= set(scanned.lines)


@given(st.text(alphabet="ab=[]{}\"'\\.,#\n 1", max_size=60))
def test_any_text_can_be_scanned(text: str) -> None:
    scanned = TomlScanner(text)
    assert [each.start for each in scanned.statements] == sorted({each.start for each in scanned.statements})
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(places(tables)) <= set(scanned.lines)
