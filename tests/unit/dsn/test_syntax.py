"""DSNs are split into options as in libpq."""

import ctypes
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sql.dsn.dsn import read_dsn
from sql.dsn.syntax import BadDatabaseUrl, split_dsn
from sql.embedded.binaries import find_binaries

SECRET = "hunter2"

PIECES = [
    *("postgresql://", "postgres://", "u", "h", "db", "@", ":", "/", "?", "#", "[", "]", "::1", ",", "&", "=", ";"),
    *("%40", "%2F", "%00", "%zz", "%", "%C3%A9", "é", "＠", " ", "\t", "\n", "'", "\\", "+", "1", "a"),
    *("host", "port", "5432", "user", "password", "sslmode", "ssl", "true", "requiressl", "[::1]", "?host=/tmp"),
    *("host=", "password=", "dbname=", "application_name="),
]


class _Option(ctypes.Structure):
    """PQconninfoOption of libpq-fe.h."""

    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")),
        ("dispsize", ctypes.c_int),
    )


@cache
def libpq() -> ctypes.CDLL:
    """The client library of PostgreSQL 18, which comes with the embedded server."""
    binaries = find_binaries()
    library = ctypes.CDLL(str(binaries.bin.parent / "lib" / "libpq.so.5"))
    library.PQconninfoParse.restype = ctypes.POINTER(_Option)
    library.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
    library.PQconninfoFree.argtypes = [ctypes.POINTER(_Option)]
    library.PQfreemem.argtypes = [ctypes.c_char_p]
    return library


def split_by_libpq(text: str) -> dict[str, bytes] | str:
    """Return the options that psql would use, or its error."""
    error = ctypes.c_char_p()
    options = libpq().PQconninfoParse(text.encode(), ctypes.byref(error))
    if not options:
        return (error.value or b"").decode(errors="replace")
    found = {}
    for option in options:
        if option.keyword is None:
            break
        if option.val is not None:
            found[option.keyword.decode()] = option.val
    libpq().PQconninfoFree(options)
    return found


@given(text=st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example(text="postgresql://sitelatch:[S3cretPassw0rd]@127.0.0.1:5/db")
@example(text="postgresql://u:p＠ss?#[w:rd@h1:1,,[::1]:2/db?application_name=a+b")
@example(text="host=h password='it\\'s a \\\\ secret' user = u")
@example(text="dbname=a\\\n")
@example(text="= 'a=b")
def test_a_dsn_is_split_as_libpq_does(text: str) -> None:
    expected = split_by_libpq(text)
    try:
        found = split_dsn(text)
    except BadDatabaseUrl as refused:
        found, reason = None, str(refused)
    if isinstance(expected, str):
        # Options that libpq does not know are refused in the next step.
        assert found is None or "invalid connection option" in expected or "invalid URI query parameter" in expected
    elif found is None:
        # Stricter than libpq: one encoding, no line breaks in a URI, and no @ in the name of a database.
        assert any(rule in reason for rule in ("UTF-8", "line breaks", "an @ after", "must begin with"))
    else:
        assert {name: value.encode() for name, value in found.items()} == expected


@pytest.mark.parametrize(
    "dsn",
    [
        SECRET,
        f"mysql://user:{SECRET}@host/db",
        f"postgresql+asyncpg://user:{SECRET}@host/db",
        f"jdbc:postgresql://host/db?user=u&password={SECRET}",
        f"postgresql://user:{SECRET}/x@host/db",
        f"postgresql://user:1/{SECRET}@host/db",
        f"postgresql://user:1/x?{SECRET}=y@host/db",
        f"postgresql://user:x@{SECRET}@host/db",
        f"postgresql://user:x@{SECRET}/y@host/db",
        f"postgresql://user:x@y?{SECRET}=z@host/db",
        f"postgresql://user:x@y#{SECRET}@host/db",
        f"postgresql://user＠{SECRET}＠host/db",
        f"postgresql://user：{SECRET}@host/db",  # the server would log the user
        f"postgresql://user@/db?host=/{'x' * 90}{SECRET}",
        f"postgresql://host:{SECRET}/db",
        f"postgresql://h1:1,h2:{SECRET}/db",
        f"postgresql://user:{SECRET}@host:65536/db",
        f"postgresql://user:{SECRET}@host:0/db",
        f"postgresql://user:{SECRET}@h1:1,h2:2/db?port=1,2,3",
        f"postgresql://user:{SECRET}@[::1/db",
        f"postgresql://user:{SECRET}@[]/db",
        f"postgresql://user:{SECRET}%@host/db",
        f"postgresql://user:{SECRET}%00@host/db",
        f"postgresql://user:{SECRET}%ff@host/db",
        f"postgresql://user:{SECRET}\n@host/db",
        f"postgresql://user:{SECRET}\udcff@host/db",
        f"postgresql://user:{SECRET} x@host/db",
        f"postgresql://user@host/db?{SECRET}",
        f"postgresql://user@host/db?port={SECRET}",
        f"postgresql://user@host/db?password=x&{SECRET}=1",
        f"postgresql://user@host/db?sslmode={SECRET}",
        f"postgresql://user@host/db?connect_timeout={SECRET}",
        f"postgresql://user@host/db?keepalives={SECRET}",
        f"postgresql://user@host/db?hostaddr={SECRET}",
        f"postgresql://user@host/db?target_session_attrs={SECRET}",
        f"postgresql://user@host/db?ssl_min_protocol_version={SECRET}",
        f"postgresql://user@host/db?scram_client_key={SECRET}",
        f"postgresql://user@host/db?oauth_client_secret={SECRET}",
        f"postgresql://user@host/db?service={SECRET}",
        f"host=h user=u password=x {SECRET}",
        f"host=h user=u password=x {SECRET}=1",
        f"host=h user=u password='x' '{SECRET}'",
        f"host=h user=u password='{SECRET}",
        f"host={SECRET}@h",
        f"host=h:{SECRET}",
        f"{SECRET}=",  # a password in Base64, instead of a DSN
        f"{SECRET}==",
        f"h:5432:db:user:{SECRET}=x",  # a line of a password file
        f"{SECRET}=host=h user=u",
        f"user=u pass word={SECRET}",
        f"host=h user=u pwd:{SECRET}=x",
        f"host=h user=u {SECRET}==",
        f"postgresql://user@host/db?{SECRET}=",
    ],
)
def test_an_invalid_dsn_is_refused_without_quoting_it(dsn: str) -> None:
    with pytest.raises(BadDatabaseUrl) as refused:
        read_dsn(dsn, {})
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__
