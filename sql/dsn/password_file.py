"""The password file, `~/.pgpass` (https://www.postgresql.org/docs/current/libpq-pgpass.html)."""

import re
from pathlib import Path

from sql.dsn.hosts import Host
from sql.text_files import NotText, read_text

_FIELD = re.compile(r"((?:[^:\\]|\\.)*):")
_ESCAPE = re.compile(r"\\(.)")


class UnusablePasswordFile(Exception):  # noqa: N818 - names what happened
    """A password file cannot be used. The message names it and says why. libpq ignores it, or warns about it."""


def find_password(file: Path, host: Host, database: str, user: str) -> str | None:
    """Return the first password for a connection, or None. Raises UnusablePasswordFile."""
    names = {host.name, "localhost"} if host.is_socket else {host.name}
    wanted = (names, {str(host.port)}, {database}, {user})
    for line in _read_lines(file):
        fields, password = _split(line)
        if len(fields) == len(wanted) and all(
            given == "*" or given in values for given, values in zip(fields, wanted, strict=True)
        ):
            return password
    return None


def _read_lines(file: Path) -> list[str]:
    try:
        if not file.is_file():
            file.stat()  # raises the error that explains it
            raise UnusablePasswordFile(f"{file} is not a plain file")
        if file.stat().st_mode & 0o077:
            raise UnusablePasswordFile(f"{file} can be read by other users. Set its mode to 0600")
        return [line for line in read_text(file).split("\n") if not line.startswith("#")]
    except OSError as error:
        raise UnusablePasswordFile(f"{file}: {error.strerror}") from None
    except NotText as error:
        raise UnusablePasswordFile(f"{file}: {error}") from None


def _split(line: str) -> tuple[list[str], str]:
    """Split a line at its first four colons. A backslash makes the next character an ordinary one."""
    fields: list[str] = []
    at = 0
    while len(fields) < 4 and (match := _FIELD.match(line, at)):
        fields.append(_ESCAPE.sub(r"\1", match[1]))
        at = match.end()
    return fields, _ESCAPE.sub(r"\1", line[at:])
