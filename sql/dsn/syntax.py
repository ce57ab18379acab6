"""Splits a DSN into its options, as libpq does: a URI (`postgresql://…`), or pairs (`host=… user=…`).

Messages never quote the DSN, because a mistake in it often makes a part of the password look like something else.
"""

import re
from collections.abc import Iterator
from typing import Final

_SCHEMES: Final = ("postgresql://", "postgres://")
_SPACE: Final = r"[ \t\n\v\f\r]"
_PAIR: Final = re.compile(
    rf"""
    {_SPACE}* (?P<name> [^= \t\n\v\f\r]* ) {_SPACE}* = {_SPACE}*+
    (?: ' (?P<quoted> (?: [^'\\] | \\. )* ) ' | (?!') (?P<plain> (?: [^ \t\n\v\f\r\\] | \\.? )* ) )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)
_HOST: Final = re.compile(r"(?: \[ (?P<ipv6> [^\]]+ ) \] (?= [:/?,] | \Z ) | (?P<name> (?!\[) [^:/?,]* ) )", re.VERBOSE)
_PORT: Final = re.compile(r"(?: : (?P<port> [^/?,]* ) )?", re.VERBOSE)
_ENCODED: Final = re.compile(r"%(..)?", re.DOTALL)
_LIKE_COLON: Final = re.compile("[\uff1a\ufe55\ufe13\u2236\ua789]")
"""Matches characters that look like a colon, for example fullwidth ones, which East Asian keyboards can type."""
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}")


class BadDatabaseUrl(ValueError):  # noqa: N818 - names what happened
    """A DSN is not valid. The message does not quote it, because it may contain a password."""


ENCODE = "Percent-encode the characters / ? # @ % and spaces in a user name or a password, for example @ as %40"


def is_text(text: str) -> bool:
    """Return whether a text is UTF-8 text without control characters, except white space."""
    return text.isprintable() or re.search(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]", text) is None


def split_dsn(text: str) -> dict[str, str]:
    """Return the options of a DSN, keyed by name; the last occurrence of an option wins. Raises BadDatabaseUrl."""
    if not is_text(text):
        raise BadDatabaseUrl("must be UTF-8 text without control characters")
    for scheme in _SCHEMES:
        if text.startswith(scheme):
            return dict(_split_uri(text.removeprefix(scheme)))
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) or "=" not in text:
        raise BadDatabaseUrl(
            'must begin with "postgresql://", for example postgresql://user:password@host:5432/database. The name of '
            "a driver (postgresql+asyncpg, jdbc:) is not part of it"
        )
    return dict(_renamed(name, value) for name, value in _split_pairs(text))


def written_secrets(text: str) -> set[str]:
    """Return the passwords in a valid DSN, as it spells them."""
    credentials, at_sign, _ = text.partition("@")
    found = {credentials.partition("://")[2].partition(":")[2]} if at_sign else set()
    found.update(re.findall(r"password *= *([^ &]+)", text))
    return found


def _split_pairs(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip(" \t\n\v\f\r"):
        pair = _PAIR.match(text, at)
        if pair is None:
            raise BadDatabaseUrl(
                'must be pairs like host=… user=…, or begin with "postgresql://". Put a value with spaces or quotes '
                "into single quotes, and write \\' and \\\\ for a quote and a backslash in it"
            )
        yield pair["name"], _ESCAPE.sub(r"\1", pair["plain"] if pair["quoted"] is None else pair["quoted"])
        at = pair.end()


def _split_uri(text: str) -> Iterator[tuple[str, str]]:
    if re.search(r"[\t\n\v\f\r]", text):
        raise BadDatabaseUrl("must not contain tabs or line breaks")
    # As in libpq, the first @ before the first / ends the credentials. They can contain any other character.
    credentials, at_sign, rest = text.partition("@")
    if not at_sign or "/" in credentials:
        credentials, rest = "", text
    user, colon, password = credentials.partition(":")
    if not colon and _LIKE_COLON.search(user):  # otherwise the server logs the password as a part of the user's name
        raise BadDatabaseUrl(
            "has a character before the @ that only looks like a colon. Write a colon between the user and the "
            "password, or percent-encode the character if it is a part of the user's name"
        )
    hosts, ports, rest = _split_hosts(rest)
    path, question_mark, query = rest.partition("?")
    if "@" in path:  # libpq reads it as a part of the database's name, which is never intended
        raise BadDatabaseUrl(f"has an @ after the first /. {ENCODE}")
    for name, value in {
        "user": user,
        "password": password,
        "host": ",".join(hosts),
        "port": ",".join(ports),
        "dbname": path.removeprefix("/"),
    }.items():
        if value.strip(","):
            yield name, _decode(value)
        elif value:
            yield name, value
    if question_mark and query:
        yield from _split_query(query)


def _split_hosts(text: str) -> tuple[list[str], list[str], str]:
    """Return the hosts, their ports ("" for none), and the rest of the URI."""
    hosts: list[str] = []
    ports: list[str] = []
    at = 0
    while True:
        host = _HOST.match(text, at)
        if host is None:
            raise BadDatabaseUrl("has an invalid IPv6 address. Write it in brackets, like [::1]:5432")
        port = _PORT.match(text, host.end())
        hosts.append(host["ipv6"] or host["name"] or "")
        ports.append((port and port["port"]) or "")
        at = port.end() if port else host.end()
        if not text.startswith(",", at):
            return hosts, ports, text[at:]
        at += 1


def _split_query(query: str) -> Iterator[tuple[str, str]]:
    # libpq allows a final &, but no empty parameter.
    for parameter in query.removesuffix("&").split("&"):
        name, equals, value = parameter.partition("=")
        if not equals or "=" in value:
            raise BadDatabaseUrl(
                "must have the form option=value after the ?, joined by &. Percent-encode the characters & = %. "
                f"{ENCODE}"
            )
        name, value = _decode(name), _decode(value)
        yield ("sslmode", "require") if (name, value) == ("ssl", "true") else _renamed(name, value)


def _renamed(name: str, value: str) -> tuple[str, str]:
    """Return an option under its current name. libpq still accepts `requiressl`."""
    return ("sslmode", "require" if value.startswith("1") else "prefer") if name == "requiressl" else (name, value)


def _decode(text: str) -> str:
    text = text.strip(" ")
    if " " in text or any(not _HEX.fullmatch(code) or code == "00" for code in _ENCODED.findall(text)):
        raise BadDatabaseUrl(f"is not percent-encoded correctly. {ENCODE}")
    try:
        encoded = text.encode()
        return re.sub(rb"%(..)", lambda code: bytes.fromhex(code[1].decode()), encoded).decode()
    except UnicodeError:
        raise BadDatabaseUrl("must be UTF-8 text, also after percent-decoding") from None
