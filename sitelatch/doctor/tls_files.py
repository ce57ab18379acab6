"""Checks the dates of certificates, in the files that a config names."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from sitelatch.config import Config
from sitelatch.config_checks import file_problems
from sitelatch.config_database import database_file_problems
from sitelatch.config_source import ConfigSource
from sitelatch.doctor.finding import Finding, Status
from sitelatch.toml_scanner import Place
from sql.database import EMBEDDED
from sql.dsn.dsn import read_dsn
from sql.dsn.tls_options import SYSTEM

_SOON: Final = timedelta(days=14)


class _File(NamedTuple):
    """A file with certificates. Of several authorities, one that is valid may be enough."""

    place: Place
    path: str
    is_authorities: bool = False


def tls_findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Yield the findings about the TLS files: whether they can be loaded, and whether the certificates are valid."""
    faults = [*file_problems(config), *database_file_problems(config)]
    for complaint in config.source.complaints(faults):
        yield Finding(Status.PROBLEM, "tls-files", complaint)
    broken = {fault.place for fault in faults}
    files = [file for file in _files(config) if file.place not in broken]
    found = [finding for file in files for finding in _dates(config.source, file, now)]
    yield from found
    if not found and not faults:
        if files:
            yield Finding(Status.OK, "tls-files", f"{len(files)} files with valid certificates, and keys that match.")
        else:
            yield Finding(Status.SKIPPED, "tls-files", "the config names no certificates.")


def _files(config: Config) -> Iterator[_File]:
    if (tls := config.proxy.tls) is not None:
        yield _File(("proxy", "tls", "certificate"), tls.certificate)
    for index, route in enumerate(config.proxy.routes):
        if (own := route.upstream_tls) is not None:
            place: Place = ("proxy", "routes", index, "upstream_tls")
            if own.ca is not None:
                yield _File((*place, "ca"), own.ca, is_authorities=True)
            if own.certificate is not None:
                yield _File((*place, "certificate"), own.certificate)
    urls: dict[Place, str | None] = {
        ("database", "url"): config.database.url,
        ("database", "listen_url"): config.database.listen_url,
        ("admin", "database_url"): config.admin.database_url,
    }
    for place, url in urls.items():
        if url is not None and not url.startswith(EMBEDDED):
            options = read_dsn(url).tls
            if options.root not in ("", SYSTEM):
                yield _File(place, options.root, is_authorities=True)
            if options.certificate:
                yield _File(place, options.certificate)


def _dates(source: ConfigSource, file: _File, now: datetime) -> Iterator[Finding]:
    """Yield the problems with the dates of the certificates in a file."""
    where = f"{source.origin(file.place)}: {file.path}"
    try:
        certificates = x509.load_pem_x509_certificates(Path(file.path).read_bytes())
        dates = [(each.not_valid_before_utc, each.not_valid_after_utc) for each in certificates]
    except (OSError, ValueError):
        message = f"{where}: the dates cannot be read. Check that the file contains certificates in PEM format."
        yield Finding(Status.WARNING, "tls-files", message)
        return
    if file.is_authorities and any(begin <= now < end for begin, end in dates):
        return
    begins, ends = max(begin for begin, _ in dates), min(end for _, end in dates)
    if begins > now:
        message = f"{where}: the certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC. "
        message += "Check this machine's clock, or use another certificate."
        yield Finding(Status.PROBLEM, "tls-files", message)
    elif ends <= now:
        message = f"{where}: a certificate expired on {ends:%Y-%m-%d %H:%M} UTC. {_RENEW}"
        yield Finding(Status.PROBLEM, "tls-files", message)
    elif ends <= now + _SOON:
        message = f"{where}: a certificate expires on {ends:%Y-%m-%d %H:%M} UTC. {_RENEW}"
        yield Finding(Status.WARNING, "tls-files", message)


_RENEW: Final = "Renew it; `serve` reads the new file by itself."
