"""Connection services: named groups of options in a file (https://www.postgresql.org/docs/current/libpq-pgservice.html)."""

from collections.abc import Mapping
from pathlib import Path

from sql.dsn.options import FIXED, HONORED
from sql.dsn.syntax import BadDatabaseUrl
from sql.text_files import NoSuchFile, NotText, read_text


def read_service(service: str, environ: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """Return the file that defines a service, and its options. Raises BadDatabaseUrl."""
    files = _service_files(environ)
    for file in files:
        try:
            lines = read_text(file).split("\n")
        except NoSuchFile:
            continue
        except NotText as error:
            raise BadDatabaseUrl(f"cannot read the service file {file}: {error}") from None
        if (options := _options_of(service, lines, file)) is not None:
            return file, options
    raise BadDatabaseUrl(
        f"names a service that no service file defines. Looked in {', '.join(map(str, files)) or 'no file'}. "
        "Set PGSERVICEFILE to the path of the file"
    )


def _service_files(environ: Mapping[str, str]) -> list[Path]:
    if file := environ.get("PGSERVICEFILE"):
        files = [Path(file)]
    elif home := environ.get("HOME"):
        files = [Path(home, ".pg_service.conf")]
    else:
        files = []
    if directory := environ.get("PGSYSCONFDIR"):
        files.append(Path(directory, "pg_service.conf"))
    return files


def _options_of(service: str, lines: list[str], file: Path) -> dict[str, str] | None:
    """Return the options of a service, or None if these lines do not define it."""
    options: dict[str, str] | None = None
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if options is not None:
                break
            options = {} if line == f"[{service}]" else None
        elif options is not None:
            name, equals, value = line.partition("=")
            if not equals or name == "service" or (name not in HONORED and name not in FIXED):
                raise BadDatabaseUrl(f"cannot use line {number} of the service file {file}. Write option=value there")
            options.setdefault(name, value)
    return options
