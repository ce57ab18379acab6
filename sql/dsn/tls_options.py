"""The TLS options of a DSN."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sql.dsn.given_options import GivenOptions
from sql.dsn.syntax import BadDatabaseUrl

SYSTEM: Final = "system"
"""The value of `sslrootcert` for the certificate authorities that the operating system trusts."""
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_NO_VERIFY: Final = (
    ". If the DSN says no-verify (a name of node-postgres), write require, which verifies nothing either"
)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How to encrypt a TCP connection, and how to verify the server. An empty string means not set."""

    mode: str = "prefer"
    direct: bool = False
    """Whether the connection begins with TLS at once, which PostgreSQL 17 supports."""
    root: str = ""
    certificate: str = ""
    key: str = ""
    key_password: str = field(default="", repr=False)
    no_certificate: bool = False
    """Whether to send no client certificate, not even one in `directory`."""
    revoked: str = ""
    revoked_directory: str = ""
    minimum_version: str = "TLSv1.2"
    maximum_version: str = ""
    directory: Path | None = None
    """`~/.postgresql`, in which libpq looks for files that are not set."""


def read_tls_options(options: GivenOptions, home: Path | None) -> TlsOptions:
    """Return the TLS options. Raises BadDatabaseUrl."""
    root = options.get("sslrootcert")
    mode = options.choose("sslmode", "verify-full" if root == SYSTEM else "prefer", _MODES, _NO_VERIFY)
    if root == SYSTEM and mode != "verify-full":
        raise BadDatabaseUrl(
            f"{options.label('sslmode')} must be verify-full with sslrootcert=system, because anyone can get a "
            "certificate from a public authority"
        )
    direct = options.choose("sslnegotiation", "postgres", ("postgres", "direct")) == "direct"
    if direct and mode not in _MODES[3:]:
        raise BadDatabaseUrl(
            f"{options.label('sslmode')} must be require, verify-ca or verify-full with sslnegotiation=direct"
        )
    minimum = options.choose("ssl_min_protocol_version", "TLSv1.2", ("", *_VERSIONS))
    maximum = options.choose("ssl_max_protocol_version", "", ("", *_VERSIONS))
    if maximum and minimum > maximum:
        raise BadDatabaseUrl(f"{options.label('ssl_max_protocol_version')} must not be below ssl_min_protocol_version")
    return TlsOptions(
        mode=mode,
        direct=direct,
        root=root,
        certificate=options.get("sslcert"),
        key=options.get("sslkey"),
        key_password=options.get("sslpassword"),
        no_certificate=options.choose("sslcertmode", "allow", ("disable", "allow")) == "disable",
        revoked=options.get("sslcrl"),
        revoked_directory=options.get("sslcrldir"),
        minimum_version=minimum,
        maximum_version=maximum,
        directory=home and home / ".postgresql",
    )
