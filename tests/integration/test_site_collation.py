"""Compares collated site IDs with a real accent-insensitive collation: ICU in PostgreSQL."""

import re
import unicodedata
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from admin.api.site_collation import collate_site
from sql.pool import open_connection
from tests.database import SYSTEM_BINARIES, create_database, drop_database, serve

# PostgreSQL in the Python wheel is built without ICU. Debian's packages include it.
pytestmark = pytest.mark.skipif(
    not SYSTEM_BINARIES, reason="needs a PostgreSQL with ICU, which the one in the Python wheel lacks"
)

# Letters that are equal to other letters in ICU but that collated IDs do not cover: scripts that are no longer in use,
# scholarly variants of letters, strokes of Chinese characters, and the Greek iota subscript, which folds to a letter.
OUT_OF_USE = re.compile(
    "RUNIC|RADICAL|BOPOMOFO|SYRIAC|GLAGOLITIC|TAI |BATAK|NKO|SUNDANESE|JAVANESE|VAI|HANGZHOU|VEDIC|TIBETAN|COPTIC"
    "|GEGRAMMENI|VERTICAL KANA|COMBINING|DEVANAGARI SIGN|DOT REPH|ALEF WITH (RIGHT|LEFT|DOT|ATTACHED)|ARABIC SMALL"
    "|ARABIC LETTER HAMZA|ARABIC LETTER YEH WITH|WAW WITH DOT|TATWEEL WITH|LOW ALEF|THIN YEH|ROUND DOT"
)


@pytest.fixture(scope="module")
def icu_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    newest = max(SYSTEM_BINARIES)
    yield from serve(tmp_path_factory, "postgres-icu", SYSTEM_BINARIES[newest])


@pytest.fixture
async def collating(icu_server: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with the collation `loose`: ICU at primary strength."""
    dsn = await create_database(icu_server, "template0")
    connection = await open_connection(dsn, role="tests")
    await connection.execute(
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
    )
    yield connection
    await connection.close()
    await drop_database(icu_server, dsn)


def in_use(letter: str) -> bool:
    """Return whether this is a letter or a digit that an ID may contain and that is in use."""
    return unicodedata.category(letter)[0] in "LN" and not OUT_OF_USE.search(unicodedata.name(letter, ""))


LETTERS = [letter for letter in map(chr, range(0x10000)) if in_use(letter)]


async def test_letters_that_icu_treats_as_equal_collate_alike(collating: asyncpg.Connection) -> None:
    classes = await collating.fetch(
        "SELECT array_agg(letter)::text[] AS letters FROM unnest($1::text[]) AS letter"
        " WHERE letter COLLATE loose <> '' GROUP BY letter COLLATE loose HAVING count(*) > 1",
        LETTERS,
    )
    assert len(classes) > 1000
    apart = {}
    for row in classes:
        forms = {collate_site(letter): letter for letter in row["letters"]}
        if len(forms) > 1:
            apart["".join(forms.values())] = list(forms)
    assert not apart


async def test_ligatures_that_icu_treats_as_two_letters_collate_like_them(collating: asyncpg.Connection) -> None:
    plain = "abcdefghijklmnopqrstuvwxyz"
    rows = await collating.fetch(
        "SELECT ligature, pair FROM unnest($1::text[]) AS ligature JOIN unnest($2::text[]) AS pair"
        " ON ligature COLLATE loose = pair",
        LETTERS,
        [one + other for one in plain for other in plain],
    )
    assert {"æ", "ß", "œ"} <= {row["ligature"] for row in rows}
    assert {row["ligature"]: collate_site(row["ligature"]) for row in rows} == {
        row["ligature"]: row["pair"] for row in rows
    }


async def test_marks_that_icu_ignores_are_ignored(collating: asyncpg.Connection) -> None:
    """Covers the scripts of Europe, the Near East, India and Southeast Asia that are in use."""
    marks = [letter for letter in map(chr, range(0x300, 0x1900)) if unicodedata.category(letter)[0] == "M"]
    rows = await collating.fetch(
        "SELECT mark FROM unnest($1::text[]) AS mark WHERE 'a' || mark = 'a' COLLATE loose", marks
    )
    assert len(rows) > 300
    iota_subscript = "\u0345"
    assert [row["mark"] for row in rows if collate_site("a" + row["mark"]) != "a"] == [iota_subscript]
